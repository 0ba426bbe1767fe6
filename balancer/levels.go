package balancer

import (
	"math"
	"time"
)

// Backends of the lowest priority number are used first. As many of them are
// unfit, or as they drown, the next level takes over: a level whose backends
// are all fit could take 1.4 times its load (Envoy's over-provisioning factor),
// so that nothing moves until less than 71 % of them are.
const overProvisioning = 1.4

// A level drowns when its requests take twice as long as those of the next
// level. Which it can only know of a next level that gets some.
const (
	drownsAt    = 2
	drownsFrom  = float32(time.Millisecond) // a smaller difference is no matter
	exploring   = 1.0 / 64                  // of the requests go to further levels, to know their latency
	spareStep   = 0.3                       // of the way to what is to be spared, in each levelPeriod
	maxSpared   = 0.9
	levelPeriod = time.Second
)

// levels divides the usable ones of all backends by priority, and the load
// among the levels. It is called with publishing held.
func (b *Balancer) levels(all, usable []*Backend) []level {
	lowest, highest := all[0].priority.Load(), uint32(0)
	for _, be := range all {
		lowest, highest = min(lowest, be.priority.Load()), max(highest, be.priority.Load())
	}
	if lowest == highest {
		return b.level(all, usable)
	}
	var levels []level
	var shares []float32
	rest := float32(1)
	for p := lowest; p <= highest; p++ {
		mine := ofPriority(usable, p)
		if len(mine) == 0 {
			continue
		}
		share := overProvisioning * float32(len(mine)) / float32(max(len(ofPriority(all, p)), 1))
		share = min(share, 1) * (1 - b.sparedOf(len(levels)))
		share = min(share, rest)
		rest -= share
		levels = append(levels, level{picker: b.picker(ofPriority(all, p), mine), backends: mine})
		shares = append(shares, share)
	}
	if further := 1 - shares[0] - rest; len(shares) > 1 && further < exploring {
		shares[0] -= exploring - further
		shares[1] += exploring - further
	}
	sum := float32(0)
	for i := range levels {
		sum += shares[i] / (1 - rest) // what no level can take is shared by all
		levels[i].upTo = uint32(min(float64(sum), 1) * math.MaxUint32)
	}
	levels[len(levels)-1].upTo = math.MaxUint32
	return levels
}

// level is levels where there is only one.
func (b *Balancer) level(all, usable []*Backend) []level {
	return []level{{picker: b.picker(all, usable), backends: usable, upTo: math.MaxUint32}}
}

func ofPriority(backends []*Backend, p uint32) []*Backend {
	var found []*Backend
	for _, be := range backends {
		if be.priority.Load() == p {
			found = append(found, be)
		}
	}
	return found
}

// draw returns the level that a pick falls to by chance.
func (t *rotation) draw(chance uint32) *level {
	for i := range t.levels {
		if chance <= t.levels[i].upTo {
			return &t.levels[i]
		}
	}
	return &t.levels[len(t.levels)-1]
}

// sparedOf returns which part of its load the i-th level is spared.
func (b *Balancer) sparedOf(i int) float32 {
	if i < len(b.spared) {
		return b.spared[i]
	}
	return 0
}

// watchLevels sees to it that the levels are weighed in a while. It is called
// with publishing held.
func (b *Balancer) watchLevels() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.watching && !b.closed && b.policy.timed {
		b.watching = true
		b.hooks.AfterFunc(levelPeriod, b.weighLevels)
	}
}

// weighLevels compares the latencies of neighbouring levels, and publishes anew
// if that changes the load.
func (b *Balancer) weighLevels() {
	b.mu.Lock()
	b.watching = false
	b.mu.Unlock()

	b.publishing.Lock()
	levels := b.rotation.Load().levels
	changed := false
	now := b.hooks.Now()
	for i := range levels {
		target := float32(0)
		if i+1 < len(levels) {
			if here, next := b.latencyOf(levels[i].backends, now), b.latencyOf(levels[i+1].backends, now); next > 0 && here > drownsAt*next+drownsFrom {
				target = min(1-(drownsAt*next+drownsFrom)/here, maxSpared)
			}
		}
		before := b.sparedOf(i)
		after := before + spareStep*(target-before)
		if after < 0.01 {
			after = 0
		}
		for len(b.spared) <= i {
			b.spared = append(b.spared, 0)
		}
		b.spared[i] = after
		changed = changed || after != before
	}
	b.publishing.Unlock()
	if changed {
		b.publish()
	} else if len(levels) > 1 {
		b.watchLevels()
	}
}

// latencyOf is the latency that is to be expected at the best of the backends
// that have been measured; 0 if none has. A request finds its way there.
func (b *Balancer) latencyOf(backends []*Backend, now int64) float32 {
	least := float32(0)
	mean, _ := b.mean.read(now)
	for _, be := range backends {
		if be.estimate.word.Load() == 0 {
			continue
		}
		if latency := max(be.expected(now, mean), be.hanging(now)); least == 0 || latency < least {
			least = latency
		}
	}
	return least
}
