package outcome_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
)

// HTTP/2 as far as it takes to refuse streams, RFC 9113, sections 3.4 and 4.1.
const (
	h2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

	h2Headers   = 0x1
	h2RSTStream = 0x3
	h2Settings  = 0x4

	h2InternalError = 0x2
	h2Refused       = 0x7
	h2Cancel        = 0x8
)

type h2Conn struct{ net.Conn }

func h2Frame(kind byte, stream uint32, payload []byte) []byte {
	frame := []byte{0, 0, byte(len(payload)), kind, 0}
	frame = binary.BigEndian.AppendUint32(frame, stream)
	return append(frame, payload...)
}

func (c h2Conn) read() (kind byte, stream uint32, err error) {
	var head [9]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return 0, 0, err
	}
	size := int64(head[0])<<16 | int64(head[1])<<8 | int64(head[2])
	if _, err := io.CopyN(io.Discard, c, size); err != nil {
		return 0, 0, err
	}
	return head[3], binary.BigEndian.Uint32(head[5:]) & (1<<31 - 1), nil
}

// serve answers every stream with RST_STREAM and the code, calling onStream
// for each, until the client hangs up.
func (c h2Conn) serve(code uint32, onStream func()) error {
	// Both sides write at once, and a pipe in memory has no buffer.
	out := make(chan []byte, 16)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(out)
	wg.Go(func() {
		for frame := range out {
			if _, err := c.Write(frame); err != nil {
				_ = c.Close()
			}
		}
	})

	preface := make([]byte, len(h2Preface))
	if _, err := io.ReadFull(c, preface); err != nil {
		return err
	}
	if string(preface) != h2Preface {
		return errors.New("no HTTP/2")
	}
	out <- h2Frame(h2Settings, 0, nil)
	for {
		kind, stream, err := c.read()
		if err != nil {
			return nil
		}
		if kind == h2Headers {
			onStream()
			out <- h2Frame(h2RSTStream, stream, binary.BigEndian.AppendUint32(nil, code))
		}
	}
}
