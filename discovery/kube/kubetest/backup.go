package kubetest

import "maps"

// A Backup is what a [Server] had at one moment.
type Backup struct {
	objects map[key]stored
	at      *change
}

// Backup returns what the server has now, for [Server.RestoreBackup].
func (s *Server) Backup() *Backup {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	return &Backup{objects: maps.Clone(s.store.objects), at: s.store.newest}
}

// RestoreBackup sets the server back to a backup of its own: it has the objects of
// then, and goes on counting resource versions from there, as a real server does
// whose etcd is restored. Running watches are cut off. A watch from a version that
// was known after the backup is silent until the server gets there again.
func (s *Server) RestoreBackup(b *Backup) {
	s.store.setBack(b)
	s.DropWatches()
}

func (s *store) setBack(b *Backup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects = maps.Clone(b.objects)
	now := &change{revision: b.at.revision, key: b.at.key, done: make(chan struct{})}
	s.oldest, s.newest, s.length = now, now, 0
	s.forgotten = make(map[*resource]int64)
	for k, o := range s.objects {
		s.forgotten[k.resource] = max(s.forgotten[k.resource], o.record.revision)
	}
}
