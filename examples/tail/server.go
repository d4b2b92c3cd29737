package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/overload"
)

// serverCommand is the first argument of a server's process.
const serverCommand = "server"

// workers is how many calls a server works on at once; others wait.
const workers = 4

// order is one line of a server's standard input: how it is to be from now on.
type order struct {
	// Slow is how many times longer it takes for everything, 0 is not.
	Slow float64 `json:"slow,omitzero"`
	// Fail has it answer 500 at once.
	Fail bool `json:"fail,omitzero"`
}

// serve is the main function of a server's process. It says where it listens,
// does what it is told, and returns when in ends, which it does with the
// process that holds the other side: nobody outlives the parent.
func serve(in io.Reader, out io.Writer) error {
	// Ctrl-C reaches the whole group of processes; the parent sees to it.
	signal.Ignore(os.Interrupt)

	// The guard lets in as many as there are workers, has the others wait as
	// long as they like, and writes the load report on each response. That is
	// all that a server does for callers that balance by it.
	mesh, err := tulle.New(tulle.Config{Inbound: tulle.Inbound{
		Overload: &overload.Policy{MaxInFlight: workers, MaxWait: patience},
		Grace:    -1,
	}})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, l.Addr()); err != nil {
		return err
	}
	var now atomic.Pointer[order]
	now.Store(new(order))
	told, stop := context.WithCancel(context.Background())
	defer stop()
	obeyed := make(chan error, 1)
	go func() {
		defer stop()
		obeyed <- obey(json.NewDecoder(in), &now)
	}()
	server := &http.Server{Handler: worker(&now), ReadHeaderTimeout: 5 * time.Second, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	err = mesh.ServeListener(told, server, l)
	if told.Err() != nil {
		// Whoever still waits for an answer has gone with the parent.
		return <-obeyed
	}
	return err
}

// obey takes over orders until there are no more.
func obey(orders *json.Decoder, now *atomic.Pointer[order]) error {
	for {
		next := new(order)
		if err := orders.Decode(next); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		now.Store(next)
	}
}

// worker answers requests when as much time has passed as they say they need.
func worker(now *atomic.Pointer[order]) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		work, err := time.ParseDuration(r.URL.Query().Get("work"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		o := now.Load()
		if o.Fail {
			http.Error(w, "out of order", http.StatusInternalServerError)
			return
		}
		if o.Slow > 0 {
			work = time.Duration(float64(work) * o.Slow)
		}
		timer := time.NewTimer(work)
		defer timer.Stop()
		select {
		case <-timer.C:
			// An error means that the caller has gone.
			_, _ = io.WriteString(w, "done\n")
		case <-r.Context().Done():
		}
	})
}
