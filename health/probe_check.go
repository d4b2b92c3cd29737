package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"unicode"
)

const (
	// userAgent tells probes apart from calls in the logs of endpoints.
	userAgent = "tulle-probe"
	// maxAnswer is how much of a response is read so that its connection can
	// be used again, in bytes. One that is longer costs its connection.
	maxAnswer = 4 << 10
	// maxCause bounds what an error may say, in bytes.
	maxCause = 256
)

// errTimeout is the cause of a context whose probe took too long.
var errTimeout = errors.New("time-out of the probe")

// check probes once and returns why that failed, nil if it did not.
func (s *Subject) check(ctx context.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	if s.Probe.Path == "" {
		return s.connect(ctx)
	}
	return s.get(ctx)
}

// connect is the TCP probe.
func (s *Subject) connect(ctx context.Context) error {
	dial := s.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	network, addr := s.Probe.Addr(s.Endpoint.Info())
	conn, err := dial(ctx, network, addr)
	switch {
	case conn != nil:
		_ = conn.Close() // it was opened, which is what was asked
		return err
	case err == nil:
		return errors.New("dial: no connection and no error")
	case context.Cause(ctx) == errTimeout:
		return fmt.Errorf("no connection within %v", s.Probe.Timeout)
	default:
		return err
	}
}

// get is the HTTP probe.
func (s *Subject) get(ctx context.Context) error {
	scheme := s.Scheme
	if scheme == "" {
		scheme = "http"
	}
	req, err := http.NewRequestWithContext(ctx, s.Probe.Method, scheme+"://"+s.Name+s.Probe.Path, nil)
	if err != nil {
		return err
	}
	req.Header["User-Agent"] = []string{userAgent}
	if s.Probe.Host != "" {
		req.Host = s.Probe.Host
	}
	resp, err := s.RoundTripper.RoundTrip(req)
	if err == nil && resp == nil {
		return errors.New("no response and no error")
	}
	if err == nil {
		err = drain(resp)
		if !s.Probe.expects(resp.StatusCode) {
			// It says more than how its body ended.
			return fmt.Errorf("status %d", resp.StatusCode)
		}
		if err != nil {
			err = fmt.Errorf("body: %w", err)
		}
	}
	if err != nil && context.Cause(ctx) == errTimeout {
		return fmt.Errorf("no answer within %v", s.Probe.Timeout)
	}
	return err
}

// drain reads a response to its end, if that is near, and closes it.
func drain(resp *http.Response) error {
	if resp.Body == nil {
		return nil
	}
	defer func() { _ = resp.Body.Close() }() // all that counts has been read
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return nil // what follows has no end
	}
	_, err := io.CopyN(io.Discard, resp.Body, maxAnswer+1)
	if err == io.EOF {
		return nil
	}
	return err
}

// cause returns an error as the text of a verdict: one line, not too long.
func cause(err error) string {
	text := strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, err.Error())
	if len(text) > maxCause {
		text = strings.ToValidUTF8(text[:maxCause], "") + "…"
	}
	return "probe: " + strings.ToValidUTF8(text, "�")
}
