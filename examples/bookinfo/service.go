package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/fault"
)

// service is what runs in each process: one of the four services of Bookinfo
// in one version.
type service struct {
	served
	mesh   *tulle.Mesh
	client *http.Client
	// trouble is what callers have to bear, nil for none.
	trouble atomic.Pointer[fault.Injector]
	// requests counts those that came in.
	requests atomic.Uint64
}

// served says in each answer which process gave it.
type served struct {
	Service string `json:"service"`
	Version string `json:"version"`
	PID     int    `json:"pid"`
	Zone    string `json:"zone,omitempty"`
	// TLS is the version spoken, if it was.
	TLS string `json:"tls,omitempty"`
}

// reply is what a process says on its standard output: where it listens when
// it starts, then whether it has done what the order of the same number says.
type reply struct {
	Number int    `json:"number"`
	Addr   string `json:"addr,omitempty"`
	Debug  string `json:"debug,omitempty"`
	// Requests is how many have come in so far.
	Requests uint64 `json:"requests,omitempty"`
	Error    string `json:"error,omitempty"`
}

// order is one line of a process's standard input. Without settings it only
// asks for a reply.
type order struct {
	Number   int       `json:"number"`
	Settings *settings `json:"settings,omitempty"`
}

// serve is the main function of a service's process. It returns when it has
// been told to stop by SIGTERM, after the last request; or at once when in
// ends, which it does with the process that holds the other side: nobody
// outlives the parent.
func serve(args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("service", flag.ContinueOnError)
	name := flags.String("name", "", "name of the service")
	version := flags.String("version", "v1", "version of the service")
	zone := flags.String("zone", "", "zone that it runs in, as if there were more than one machine")
	addr := flags.String("addr", "127.0.0.1:0", "address to listen on")
	seed := flags.Uint64("seed", 0, "seed of all chance, 0 for a different one each time")
	alerts := flags.String("alerts", "", "URL that alerts of breakers are posted to")
	cert := flags.String("cert", "", "file of the certificate, to be called over TLS only")
	key := flags.String("key", "", "file of its key")
	if err := flags.Parse(args); err != nil {
		return err
	}
	// Ctrl-C reaches the whole group of processes; the parent sees to it.
	signal.Ignore(os.Interrupt)

	s := &service{served: served{Service: *name, Version: *version, PID: os.Getpid(), Zone: *zone}}
	hooks := tulle.Hooks{CallDone: note}
	if *alerts != "" {
		hooks.BreakerChanged = report(s.served, *alerts)
	}
	var err error
	s.mesh, err = tulle.New(tulle.Config{}, tulle.WithRand(seeded(*seed)), tulle.WithHooks(hooks))
	if err != nil {
		return err
	}
	s.client = s.mesh.Client()
	replies := json.NewEncoder(out)
	told, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	hello, served, err := s.listen(told, *addr, *cert, *key)
	if err != nil {
		// The parent tells it better than a second voice would.
		return replies.Encode(reply{Error: err.Error()})
	}
	if err := replies.Encode(hello); err != nil {
		return err
	}
	obeyed := make(chan error, 1)
	go func() { obeyed <- s.obey(json.NewDecoder(in), replies) }()
	select {
	case err = <-served:
	case err = <-obeyed:
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return errors.Join(err, s.mesh.Shutdown(ctx))
}

// handler returns what the service answers requests with.
func (s *service) handler() (http.Handler, error) {
	switch s.Service {
	case "productpage":
		return s.productpage(), nil
	case "details":
		return s.details(), nil
	case "reviews":
		return s.reviews(), nil
	case "ratings":
		return s.ratings(), nil
	}
	return nil, fmt.Errorf("there is no service %q", s.Service)
}

// front stands before the handler of the service: it counts what comes in and
// makes the trouble that the process is told to make.
func (s *service) front(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		if trouble := s.trouble.Load(); trouble != nil {
			trouble.Handler(next).ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// take takes over settings. Those that are refused change nothing.
func (s *service) take(now settings) error {
	var trouble *fault.Injector
	if now.Fault != nil {
		var err error
		if trouble, err = fault.New(*now.Fault, nil); err != nil {
			return fmt.Errorf("fault: %w", err)
		}
	}
	if err := s.mesh.Apply(now.config(s.Zone)); err != nil {
		return err
	}
	s.trouble.Store(trouble)
	return nil
}

// obey does what it is told until there are no more orders.
func (s *service) obey(orders *json.Decoder, replies *json.Encoder) error {
	for {
		var o order
		if err := orders.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		r := reply{Number: o.Number, Requests: s.requests.Load()}
		if o.Settings != nil {
			if err := s.take(*o.Settings); err != nil {
				r.Error = err.Error()
			}
		}
		if err := replies.Encode(r); err != nil {
			return err
		}
	}
}

// listen serves the service at addr until told ends, by way of its mesh, and
// the state of the mesh elsewhere until the process ends. The channel gets how
// the first came to its end. A certificate is read anew when it changes.
func (s *service) listen(told context.Context, addr, cert, key string) (hello reply, served <-chan error, err error) {
	handler, err := s.handler()
	if err != nil {
		return reply{}, nil, err
	}
	server := &http.Server{Handler: s.front(handler), ReadHeaderTimeout: 5 * time.Second}
	if cert != "" {
		server.ErrorLog = log.New(handshakesAside{os.Stderr}, "", log.LstdFlags)
		files, err := tulle.LoadCertificateFiles(cert, key)
		if err != nil {
			return reply{}, nil, err
		}
		server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: files.GetCertificate}
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return reply{}, nil, err
	}
	debug, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return reply{}, nil, errors.Join(err, l.Close())
	}
	over := make(chan error, 1)
	go func() { over <- s.mesh.ServeListener(told, server, l) }()
	state := &http.Server{Handler: s.mesh.Debug(), ReadHeaderTimeout: 5 * time.Second}
	// It ends with the process and has nothing else to say.
	go func() { _ = state.Serve(debug) }()
	return reply{Addr: l.Addr().String(), Debug: debug.Addr().String()}, over, nil
}

// handshakesAside writes what a server logs, except that somebody has called
// who does not speak TLS or does not trust it: he knows.
type handshakesAside struct{ io.Writer }

func (w handshakesAside) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("http: TLS handshake error")) {
		return len(line), nil
	}
	return w.Writer.Write(line)
}

// seeded returns a source of chance that is the same in every run, nil for
// the seed 0.
func seeded(seed uint64) func() uint64 {
	if seed == 0 {
		return nil
	}
	var mu sync.Mutex
	source := rand.NewPCG(seed, 0)
	return func() uint64 {
		mu.Lock()
		defer mu.Unlock()
		return source.Uint64()
	}
}

// answer sends v as JSON.
func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	// An error means that the caller has gone.
	_ = json.NewEncoder(w).Encode(v)
}
