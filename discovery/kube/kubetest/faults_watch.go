package kubetest

// DropWatches cuts all running watches off at once, as a broken connection
// does: events not yet sent are not sent. They no longer count in
// [Server.Watches].
func (s *Server) DropWatches() {
	for _, stream := range s.journal.dismiss() {
		stream.cancel()
	}
}

// EndWatches ends all running watches properly, as a server does whose time-out
// is reached, once they have sent the changes made before.
func (s *Server) EndWatches() {
	s.endWatches(order{end: endClean})
}

// ExpireWatches ends all running watches with an ERROR event of code 410: their
// clients have to list again.
func (s *Server) ExpireWatches() {
	oldest, newest := s.store.revisions()
	s.endWatches(order{data: encodeEvent("ERROR", mustMarshal(expired(oldest, newest))), end: endClean})
}

// CutMidEvent sends the first half of an event to all running watches and cuts
// them off. For a half event before a proper end, use [Server.SendRaw] and
// [Server.EndWatches].
func (s *Server) CutMidEvent() {
	_, newest := s.store.revisions()
	for _, stream := range s.journal.dismiss() {
		event := encodeEvent("MODIFIED", stream.resource.encode(stream.resource.blank(), newest))
		stream.order(order{after: newest, data: event[:len(event)/2], end: endAbrupt})
	}
}

// SendRaw writes to all running watches what no sane server would: malformed
// events, unknown types, very large ones. It comes after the changes made
// before and ahead of those made later. An event ends with a newline, which
// SendRaw does not add.
func (s *Server) SendRaw(text string) {
	_, newest := s.store.revisions()
	for _, stream := range s.journal.running() {
		stream.order(order{after: newest, data: []byte(text)})
	}
}

func (s *Server) endWatches(o order) {
	_, o.after = s.store.revisions()
	for _, stream := range s.journal.dismiss() {
		stream.order(o)
	}
}
