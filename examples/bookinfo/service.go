package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle"
)

// service is what runs in each process: one of the four services of Bookinfo
// in one version.
type service struct {
	served
	mesh   *tulle.Mesh
	client *http.Client
	// failing makes ratings answer 503.
	failing atomic.Bool
}

// served says in each answer which process gave it.
type served struct {
	Service string `json:"service"`
	Version string `json:"version"`
	PID     int    `json:"pid"`
}

// reply is what a process says on its standard output: where it listens when
// it starts, then whether it has taken over the settings of the same number.
type reply struct {
	Number int    `json:"number"`
	Addr   string `json:"addr,omitempty"`
	Debug  string `json:"debug,omitempty"`
	Error  string `json:"error,omitempty"`
}

// order is one line of a process's standard input.
type order struct {
	Number   int      `json:"number"`
	Settings settings `json:"settings"`
}

// serve is the main function of a service's process. It returns when in ends,
// which it does with the process that holds the other side: nobody outlives
// the parent.
func serve(args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("service", flag.ContinueOnError)
	name := flags.String("name", "", "name of the service")
	version := flags.String("version", "v1", "version of the service")
	addr := flags.String("addr", "127.0.0.1:0", "address to listen on")
	seed := flags.Uint64("seed", 0, "seed of all chance, 0 for a different one each time")
	if err := flags.Parse(args); err != nil {
		return err
	}
	// Ctrl-C reaches the whole group of processes; the parent sees to it.
	signal.Ignore(os.Interrupt)

	s := &service{served: served{Service: *name, Version: *version, PID: os.Getpid()}}
	var err error
	s.mesh, err = tulle.New(tulle.Config{}, tulle.WithRand(seeded(*seed)), tulle.WithHooks(tulle.Hooks{CallDone: note}))
	if err != nil {
		return err
	}
	s.client = s.mesh.Client()
	replies := json.NewEncoder(out)
	hello, err := s.listen(*addr)
	if err != nil {
		// The parent tells it better than a second voice would.
		return replies.Encode(reply{Error: err.Error()})
	}
	if err := replies.Encode(hello); err != nil {
		return err
	}
	return s.obey(json.NewDecoder(in), replies)
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

// obey takes over settings until there are no more. Settings that the mesh
// refuses change nothing.
func (s *service) obey(orders *json.Decoder, replies *json.Encoder) error {
	for {
		var o order
		if err := orders.Decode(&o); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		r := reply{Number: o.Number}
		if err := s.mesh.Apply(o.Settings.config()); err != nil {
			r.Error = err.Error()
		} else {
			s.failing.Store(o.Settings.Failing)
		}
		if err := replies.Encode(r); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return s.mesh.Shutdown(ctx)
}

// listen serves the service at addr, and the state of its mesh elsewhere. Both
// go on until the process ends.
func (s *service) listen(addr string) (reply, error) {
	handler, err := s.handler()
	if err != nil {
		return reply{}, err
	}
	var hello reply
	if hello.Addr, err = listen(addr, handler); err != nil {
		return reply{}, err
	}
	hello.Debug, err = listen("127.0.0.1:0", s.mesh.Debug())
	return hello, err
}

// listen serves handler at addr and returns the real address.
func listen(addr string, handler http.Handler) (string, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	// It ends with the process and has nothing else to say.
	go func() { _ = server.Serve(l) }()
	return l.Addr().String(), nil
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
