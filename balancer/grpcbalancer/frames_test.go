package grpcbalancer_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
)

// frames is a connection of HTTP/2 as a server sees it that works by hand.
type frames struct{ net.Conn }

// The types of frames, and flags (RFC 9113, sections 6 and 4.1).
const (
	frameData, frameHeaders, frameReset, frameSettings, framePing, frameGoAway = 0, 1, 3, 4, 6, 7

	flagAck, flagEndStream, flagEndHeaders = 1, 1, 4

	errorRefusedStream = 7
)

func (f frames) write(kind, flags byte, stream uint32, payload []byte) {
	header := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	header = binary.BigEndian.AppendUint32(append(header, flags), stream)
	_, _ = f.Write(append(header, payload...))
}

func (f frames) read() (kind, flags byte, stream uint32, payload []byte, err error) {
	var header [9]byte
	if _, err = io.ReadFull(f, header[:]); err != nil {
		return
	}
	payload = make([]byte, int(header[0])<<16|int(header[1])<<8|int(header[2]))
	_, err = io.ReadFull(f, payload)
	return header[3], header[4], binary.BigEndian.Uint32(header[5:]), payload, err
}

// headers writes fields as literals that are not indexed (RFC 7541, section 6.2.2).
func (f frames) headers(stream uint32, flags byte, pairs ...string) {
	var block []byte
	for i, text := range pairs {
		if i%2 == 0 {
			block = append(block, 0)
		}
		block = append(append(block, byte(len(text))), text...)
	}
	f.write(frameHeaders, flagEndHeaders|flags, stream, block)
}

// answer sends a StringValue as gRPC does.
func (f frames) answer(stream uint32, text string) {
	f.headers(stream, 0, ":status", "200", "content-type", "application/grpc")
	message := append([]byte{10, byte(len(text))}, text...)
	f.write(frameData, 0, stream, append([]byte{0, 0, 0, 0, byte(len(message))}, message...))
	f.headers(stream, flagEndStream, "grpc-status", "0")
}

func reset(f frames, stream uint32) {
	f.write(frameReset, 0, stream, binary.BigEndian.AppendUint32(nil, errorRefusedStream))
}

// goaway ends the connection with the stream before this one.
func goaway(f frames, stream uint32) {
	last := binary.BigEndian.AppendUint32(nil, stream-min(stream, 2))
	f.write(frameGoAway, 0, 0, append(last, 0, 0, 0, 0))
}

// refuser is a server that refuses the first streams of each connection, and
// answers the others with its name.
func refuser(t *testing.T, name string, first int, how func(f frames, stream uint32)) *pod {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var connections sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		listener.Close()
		connections.Wait()
	})
	connections.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Go(func() {
				stop := context.AfterFunc(ctx, func() { c.Close() })
				defer stop()
				defer c.Close()
				frames{c}.refuse(name, first, how)
			})
		}
	})
	return &pod{name: name, addr: netip.MustParseAddrPort(listener.Addr().String()), uid: "uid-" + name}
}

func (f frames) refuse(name string, first int, how func(f frames, stream uint32)) {
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	if _, err := io.ReadFull(f, make([]byte, len(preface))); err != nil {
		return
	}
	f.write(frameSettings, 0, 0, nil)
	for n := 0; ; {
		kind, flags, stream, payload, err := f.read()
		switch {
		case err != nil:
			return
		case kind == frameSettings && flags&flagAck == 0:
			f.write(frameSettings, flagAck, 0, nil)
		case kind == framePing && flags&flagAck == 0:
			f.write(framePing, flagAck, 0, payload)
		case kind == frameData:
			if n++; n <= first {
				how(f, stream)
			} else {
				f.answer(stream, name)
			}
		}
	}
}
