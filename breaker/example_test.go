package breaker_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/breaker"
)

// A service fails, and is left alone.
func Example() {
	reviews := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer reviews.Close()

	b, err := breaker.New(breaker.Policy{Consecutive: 3, OpenFor: time.Minute}, breaker.Options{Service: "reviews"})
	if err != nil {
		fmt.Println(err)
		return
	}
	client := &http.Client{Transport: b.Middleware(nil)(http.DefaultTransport)}
	for range 4 {
		resp, err := client.Get(reviews.URL)
		if refused, ok := errors.AsType[*breaker.OpenError](err); ok {
			fmt.Println("refused, come back in a minute or more:", refused.RetryAfter > 59*time.Second)
			continue
		} else if err != nil {
			fmt.Println(err)
			return
		}
		resp.Body.Close()
		fmt.Println(resp.Status)
	}
	fmt.Println(b.State(), "because of", b.Stats().LastCause)
	// Output:
	// 503 Service Unavailable
	// 503 Service Unavailable
	// 503 Service Unavailable
	// refused, come back in a minute or more: true
	// open because of 3 failures in a row
}

// At most ten requests are in flight, a hundred wait for half a second.
func ExampleLimiter() {
	l, err := breaker.NewLimiter(breaker.Limit{InFlight: 10, Waiting: 100, MaxWait: 500 * time.Millisecond})
	if err != nil {
		fmt.Println(err)
		return
	}
	reviews := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("in flight:", l.Stats().InFlight)
	}))
	defer reviews.Close()
	client := &http.Client{Transport: l.Middleware(nil)(http.DefaultTransport)}
	resp, err := client.Get(reviews.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	fmt.Println("in flight:", l.Stats().InFlight)
	// Output:
	// in flight: 1
	// in flight: 0
}

// A webhook hears of each incident when it begins and when it ends. OnEvent
// must not block, so a goroutine with a bounded queue does the posting.
func ExampleEvent() {
	pager := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e breaker.Event
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Printf("%s: open %v: %s; last a %s\n", e.Service, e.Open, e.Cause, e.Last[len(e.Last)-1].Class)
	}))
	defer pager.Close()

	queue := make(chan breaker.Event, 64)
	var posting sync.WaitGroup
	posting.Go(func() {
		client := &http.Client{Timeout: 5 * time.Second}
		for e := range queue {
			text, err := json.Marshal(e)
			if err != nil {
				continue
			}
			if resp, err := client.Post(pager.URL, "application/json", bytes.NewReader(text)); err == nil {
				resp.Body.Close()
			}
		}
	})
	b, err := breaker.New(breaker.Policy{Consecutive: 3}, breaker.Options{
		Service: "reviews",
		OnEvent: func(e breaker.Event) {
			select {
			case queue <- e:
			default: // rather lose an event than hold up a call
			}
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	failing := b.Middleware(nil)(roundTripper(func(*http.Request) (*http.Response, error) {
		return nil, errors.New("connection reset by peer")
	}))
	client := &http.Client{Transport: failing}
	for range 100 {
		_, _ = client.Get("http://reviews/")
	}
	b.Reset()
	close(queue)
	posting.Wait()
	// Output:
	// reviews: open true: 3 failures in a row; last a reset
	// reviews: open false: reset; last a reset
}
