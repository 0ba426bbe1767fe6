package httpbalancer

// uncount takes back an attempt that does not count, unless there is to be no
// other in any case.
func (j *call) uncount() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.pool.transport.config.Retry.MaxAttempts > 1 {
		j.attempts--
	}
}

// forgive reports whether the attempt that has not reached its backend had taken the
// place of another. The two count as one.
func (j *call) forgive() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.debts == 0 {
		return false
	}
	j.debts--
	return true
}

// more reports whether the request may be sent to another backend.
func (j *call) more() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.attempts < j.pool.transport.config.Retry.MaxAttempts
}
