package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/tulle-mesh/tulle"
)

// hop is one call from a service to another, as the caller saw it.
type hop struct {
	// To names the service called; served says who answered.
	To string `json:"to"`
	served
	// Endpoint is the last address tried, Attempts how often it was tried.
	Endpoint string        `json:"endpoint,omitempty"`
	Attempts int           `json:"attempts"`
	Took     time.Duration `json:"took"`
	// Error is why there is no answer, Reason what that is to the mesh if it
	// did not let the call through or gave it up.
	Error  string `json:"error,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Local is why a mesh answered in the place of the service, if one did.
	Local string `json:"local,omitempty"`
	// RetryAfter is how long a call would be refused again, if that is known.
	RetryAfter time.Duration `json:"retryAfter,omitempty"`
}

// userHeader names the user for whom a call is made. Each service passes it
// on, so that routes anywhere on the way can go by it.
const userHeader = "End-User"

// mostAnswer bounds what is read of an answer.
const mostAnswer = 1 << 20

type hopKey struct{}

// get asks another service for what is at the path, and decodes the answer.
func (s *service) get(ctx context.Context, user, to, path string, answer any) hop {
	return s.call(ctx, http.MethodGet, user, to, path, nil, answer)
}

// post sends something to another service, and decodes the answer. A call
// like that is not repeated once it may have arrived.
func (s *service) post(ctx context.Context, user, to, path string, what, answer any) hop {
	body, err := json.Marshal(what)
	if err != nil {
		return hop{To: to, Error: err.Error()}
	}
	return s.call(ctx, http.MethodPost, user, to, path, body, answer)
}

func (s *service) call(ctx context.Context, method, user, to, path string, body []byte, answer any) hop {
	h := hop{To: to}
	if err := s.fetch(context.WithValue(ctx, hopKey{}, &h), &h, method, user, "http://"+to+path, body, answer); err != nil {
		h.Error = err.Error()
		// What the mesh says is a sentence already; the client puts the URL before it.
		if e, ok := errors.AsType[*tulle.Error](err); ok {
			h.Error, h.Reason, h.RetryAfter = e.Error(), e.Reason.String(), e.RetryAfter
			h.Local = h.Reason
		}
	}
	return h
}

func (s *service) fetch(ctx context.Context, h *hop, method, user, url string, body []byte, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	if user != "" {
		req.Header.Set(userHeader, user)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	// RFC 9209: a mesh marks what it answers itself, on either side of a call.
	h.Local = resp.Header.Get("Proxy-Status")
	got, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return json.Unmarshal(got, answer)
}

// note is the mesh's hook: it writes what only the mesh knows of a call into
// the hop that get has put into the call's context. A copy of the call has the
// same, and nothing to say.
func note(d tulle.CallDone) {
	if d.Call.Mirrored() {
		return
	}
	if h, ok := d.Call.Value(hopKey{}).(*hop); ok {
		h.Endpoint, h.Attempts, h.Took = d.Endpoint, d.Attempts, d.Duration
	}
}
