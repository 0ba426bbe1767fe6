// Package surface holds the tests of what users see of the project besides what
// it does: the exported API, the README, and the licences of what is linked.
package surface
