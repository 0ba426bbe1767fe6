package subset

import "sort"

// A ranking hands out the endpoints in the order of their scores for one client.
// Since a client takes few of many, it does not sort them all: it collects and
// sorts those of the highest band of scores, then those of the next.
type ranking struct {
	client    uint64
	endpoints []uint64 // their hashes
	band      uint64   // the height of a band
	floor     uint64   // what scores at least this has been collected
	collected []scored // and, but for these, handed out
}

type scored struct {
	score uint64
	index int
}

// newRanking returns the ranking of a client that is likely to take about size
// endpoints.
func newRanking(client uint64, endpoints []uint64, size int) ranking {
	expected := min(size+size/2+4, len(endpoints)) // in a band
	return ranking{
		client:    client,
		endpoints: endpoints,
		band:      maxScore / uint64(len(endpoints)) * uint64(expected),
		floor:     maxScore,
		collected: make([]scored, 0, expected+expected/2),
	}
}

// next returns the index of the next endpoint, or false after the last one.
func (r *ranking) next() (index int, ok bool) {
	for len(r.collected) == 0 {
		if r.floor == 0 {
			return 0, false
		}
		r.collect()
	}
	index = r.collected[0].index
	r.collected = r.collected[1:]
	return index, true
}

func (r *ranking) collect() {
	height := min(r.band, r.floor)
	r.floor -= height
	for i, endpoint := range r.endpoints {
		if s := score(r.client, endpoint); s-r.floor < height { // below the floor it wraps around
			r.collected = append(r.collected, scored{s, i})
		}
	}
	sort.Sort(byScore(r.collected))
}

// byScore sorts the highest first. It is no function for package slices, which
// would make another copy of its sorting for it: 12 KB in every program.
type byScore []scored

func (s byScore) Len() int      { return len(s) }
func (s byScore) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s byScore) Less(i, j int) bool {
	return s[i].score > s[j].score || s[i].score == s[j].score && s[i].index < s[j].index
}

// maxScore is above all scores.
const maxScore = 1 << 63

func score(client, endpoint uint64) uint64 { return mix(client^endpoint) >> 1 }
