package ratelimit_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/tulle-mesh/tulle/ratelimit"
)

// Everybody may send three requests in a minute, as an address.
func Example() {
	l, err := ratelimit.New(ratelimit.Config{
		Policies: []ratelimit.Policy{{
			Name: "address", Requests: 3, Period: time.Minute, Key: ratelimit.Key{Source: true},
		}},
		Fields: ratelimit.StandardFields,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	reviews := httptest.NewServer(l.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "five stars")
	})))
	defer reviews.Close()

	for range 4 {
		resp, err := http.Get(reviews.URL)
		if err != nil {
			fmt.Println(err)
			return
		}
		resp.Body.Close()
		fmt.Println(resp.Status, resp.Header.Get("RateLimit-Policy"), resp.Header.Get("Content-Type"))
	}
	// Output:
	// 200 OK "address";q=3;w=60 text/plain; charset=utf-8
	// 200 OK "address";q=3;w=60 text/plain; charset=utf-8
	// 200 OK "address";q=3;w=60 text/plain; charset=utf-8
	// 429 Too Many Requests "address";q=3;w=60 application/problem+json
}

// A client keeps to what it has promised: its requests wait for their turn, for
// half a second at most.
func ExampleLimiter_Middleware() {
	l, err := ratelimit.New(ratelimit.Config{
		Policies: []ratelimit.Policy{{Name: "partner", Requests: 2, Period: time.Hour}},
		MaxWait:  500 * time.Millisecond,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	partner := httptest.NewServer(http.NotFoundHandler())
	defer partner.Close()

	client := &http.Client{Transport: l.Middleware(nil)(http.DefaultTransport)}
	for range 3 {
		resp, err := client.Get(partner.URL)
		if refused, ok := errors.AsType[*ratelimit.Error](err); ok {
			fmt.Println("refused by", refused.Policy, "for another", refused.RetryAfter.Round(time.Minute))
			continue
		} else if err != nil {
			fmt.Println(err)
			return
		}
		resp.Body.Close()
		fmt.Println(resp.Status)
	}
	// Output:
	// 404 Not Found
	// 404 Not Found
	// refused by partner for another 30m0s
}

// Several policies are charged together: who is refused by one pays none.
func ExampleLimiter_Take() {
	l, err := ratelimit.New(ratelimit.Config{Policies: []ratelimit.Policy{
		{Name: "second", Requests: 10},
		{Name: "day", Requests: 12, Period: 24 * time.Hour},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	r, now := httptest.NewRequest(http.MethodGet, "/", nil), time.Now()
	for _, cost := range []int64{8, 5, 2} {
		d := l.Take(r, cost, now)
		fmt.Println(d.Allowed, d.Policy, d.Remaining)
	}
	// Output:
	// true second 2
	// false day 4
	// true second 0
}
