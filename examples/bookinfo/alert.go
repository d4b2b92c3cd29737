package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/breaker"
)

// alert is what a process posts to a webhook when a breaker of its mesh opens,
// and when it closes again.
type alert struct {
	From  served        `json:"from"`
	Event breaker.Event `json:"event"`
}

// lines tells the alert and its evidence.
func (a alert) lines() []string {
	e := a.Event
	of := fmt.Sprintf("breaker of %s in %s %s (pid %d)", e.Service, a.From.Service, a.From.Version, a.From.PID)
	if !e.Open {
		return []string{
			fmt.Sprintf("%s  %s is closed again: %s", e.At.Format(time.TimeOnly), of, e.Cause),
			fmt.Sprintf("open for %v, %d calls refused, opened again by %d failed trials",
				e.Duration.Round(time.Millisecond), e.Refused, e.Reopened),
		}
	}
	var last []string
	for _, s := range e.Last {
		what := s.Class.String()
		if s.Status != 0 {
			what = fmt.Sprint(s.Status)
		}
		last = append(last, what)
	}
	return []string{
		fmt.Sprintf("%s  %s is open: %s", e.At.Format(time.TimeOnly), of, e.Cause),
		fmt.Sprintf("last %s; tries again in %v", strings.Join(last, " "), e.HalfOpenAt.Sub(e.At).Round(time.Millisecond)),
	}
}

// report returns a hook that posts what happens to breakers. The mesh calls it
// on a goroutine of its own, so it may wait for an answer.
func report(from served, url string) func(breaker.Event) {
	client := &http.Client{Timeout: 2 * time.Second}
	return func(e breaker.Event) {
		if err := post(client, url, alert{from, e}); err != nil {
			log.Printf("bookinfo: alert of %s %s: %v", from.Service, from.Version, err)
		}
	}
}

func post(client *http.Client, url string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	resp, err := client.Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		return errors.New(url + " answers " + resp.Status)
	}
	return nil
}

// inbox is the webhook that alerts come to. It is safe for concurrent use.
type inbox struct {
	url    string
	server *http.Server

	mu  sync.Mutex
	all []alert
	// more is closed when the next alert comes.
	more chan struct{}
}

// mostAlerts is how many alerts an inbox takes.
const mostAlerts = 10_000

// openInbox returns an inbox that listens until it is closed.
func openInbox() (*inbox, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	in := &inbox{url: "http://" + l.Addr().String() + "/alerts", more: make(chan struct{})}
	mux := http.NewServeMux()
	mux.Handle("POST /alerts", http.HandlerFunc(in.take))
	in.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	// It ends with close and has nothing else to say.
	go func() { _ = in.server.Serve(l) }()
	return in, nil
}

func (in *inbox) close() { _ = in.server.Close() }

func (in *inbox) take(w http.ResponseWriter, r *http.Request) {
	var a alert
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostAnswer))
	if err == nil {
		err = json.Unmarshal(body, &a)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.all) == mostAlerts {
		http.Error(w, "too many alerts", http.StatusInsufficientStorage)
		return
	}
	in.all = append(in.all, a)
	close(in.more)
	in.more = make(chan struct{})
	w.WriteHeader(http.StatusNoContent)
}

// after returns the alerts that came after the first n, and a channel that is
// closed when there is another.
func (in *inbox) after(n int) ([]alert, <-chan struct{}) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.all[n:len(in.all):len(in.all)], in.more
}

// await returns the alerts after the first n, once there are as many as that
// or it has lost patience.
func (in *inbox) await(ctx context.Context, n, many int) ([]alert, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		got, more := in.after(n)
		if len(got) >= many {
			return got, nil
		}
		select {
		case <-more:
		case <-timer.C:
			return got, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
