// Package tcp has the system notice that a peer is gone.
//
// A peer that is gone without a word (a node that lost power, a network that dropped
// the connection's state) sends no reset. KeepAlive finds that out within 16 s on a
// connection that nothing is sent on, and UserTimeout within 15 s on one that waits for
// an acknowledgement. PeerClosed finds out that a peer has closed a connection, before
// anybody has read that.
package tcp

import (
	"net"
	"time"
)

// KeepAlive is how connections that nothing is sent on are probed: for the first time
// after 10 s, then every 2 s, and the third probe without an answer ends the
// connection.
var KeepAlive = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 2 * time.Second, Count: 3}

// UserTimeout is for how long sent data may stay without an acknowledgement. It should
// be just below what the probes take (RFC 5482, RFC 9293 section 3.8.4). It also ends
// the connection to a peer that has read nothing for so long.
const UserTimeout = 15 * time.Second
