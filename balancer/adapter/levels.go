package adapter

import (
	"math"
	"time"
)

// Backends of the lowest priority number are used first. As many of them are
// unfit, or as they drown, the next level takes over: a level whose backends
// are all fit could take 1.4 times its load (Envoy's over-provisioning factor),
// so that nothing moves until less than 71 % of them are.
const overProvisioning = 1.4

// A level drowns when its requests take longer than those of the next level. Then
// it is spared a part of its load, more and more of it until they take about as
// long. Which can only be known of a next level that gets some.
const (
	drownsAt    = 1.05                            // times the latency of the next level
	beginsAt    = 1.5                             // the same, before anything is spared: chance alone makes smaller differences
	fewSpared   = 0.05                            // as good as nothing
	drownsFrom  = float32(500 * time.Microsecond) // a smaller difference is no matter
	exploring   = 1.0 / 64                        // of the requests go to further levels, to know their latency
	spareGain   = 0.05                            // of the load, for a factor of e in latency or more, in each levelPeriod
	goHome      = 3                               // times as fast the load comes back
	calmTime    = 16                              // levelPeriods without a reason to spare a level
	returning   = 0.15                            // of what it is spared comes back in each further one
	maxSpared   = 0.9
	levelPeriod = 250 * time.Millisecond
	levelWeight = 1.0 / 32         // of a latency in the mean of a level, at least
	levelFade   = 16 * time.Second // without a latency, in which 63 % of the mean is forgotten
	maxLevels   = 4                // that are told apart by their latency
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
	if !b.watching && !b.closed {
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
	for i := range levels {
		for len(b.spared) <= i {
			b.spared, b.calmed, b.weighed = append(b.spared, 0), append(b.calmed, 0), append(b.weighed, 0)
		}
		step := float32(-spareGain)
		if i+1 < len(levels) {
			if here, next := b.latencyOf(levels[i]), b.latencyOf(levels[i+1]); here > 0 && next > 0 {
				at := float32(drownsAt)
				if b.spared[i] < fewSpared {
					at = beginsAt
				}
				step = spareGain * float32(min(max(math.Log(float64(here/(at*next+drownsFrom))), -1), 1))
				if b.calmed[i]++; step > 0 {
					b.calmed[i] = 0
					if news := b.levelMean(levels[i+1].backends[0]).word.Load(); news == b.weighed[i] {
						step = 0 // nothing new is known of the next level
					} else {
						b.weighed[i] = news
					}
				} else if step *= goHome; b.calmed[i] > calmTime {
					step -= returning * b.spared[i]
				}
			}
		}
		before := b.spared[i]
		b.spared[i] = min(max(before+step, 0), maxSpared)
		changed = changed || b.spared[i] != before
	}
	b.publishing.Unlock()
	if changed {
		b.publish()
	} else if len(levels) > 1 {
		b.watchLevels()
	}
}

// latencyOf returns the mean latency of a level, or 0 if nothing was measured.
func (b *Balancer) latencyOf(l level) float32 {
	mean, _ := b.levelMean(l.backends[0]).read(b.hooks.Now())
	return mean
}

// levelMean is where the mean latency of the level of a backend is kept.
func (b *Balancer) levelMean(be *Backend) *estimate {
	return &b.levelMeans[min(be.priority.Load(), maxLevels-1)]
}

// observeLevel takes note of a latency, where there are several levels.
func (b *Balancer) observeLevel(be *Backend, now int64, latency float32) {
	if mean := b.levelMean(be); len(b.rotation.Load().levels) > 1 && mean.older(now, meanPeriod) {
		if mean.word.Load() == 0 { // one latency alone says little
			if all, _ := b.mean.read(now); all > 0 {
				mean.word.Store(packEstimate(all, now))
			}
		}
		mean.mix(now, latency, levelWeight, levelFade)
	}
}
