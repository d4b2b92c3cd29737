package mirror_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/tulle-mesh/tulle/mirror"
)

// The new version sees what the old one answers.
func Example() {
	old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	defer old.Close()
	next := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("copy of", r.Method, r.URL, "with a key:", r.Header.Get("Authorization") != "")
		w.WriteHeader(http.StatusInternalServerError) // nobody notices
	}))
	defer next.Close()

	m, err := mirror.New(mirror.Policy{}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	toNext := transport(func(r *http.Request) (*http.Response, error) {
		r.URL.Host = next.Listener.Addr().String() // the copy is its own
		return http.DefaultTransport.RoundTrip(r)
	})
	client := &http.Client{Transport: m.Middleware(toNext)(http.DefaultTransport)}
	req, _ := http.NewRequest("GET", old.URL+"/a", nil)
	req.Header.Set("Authorization", "Bearer key")
	resp, err := client.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	m.Wait()
	fmt.Println(resp.StatusCode, m.Stats().Failed)
	// Output:
	// copy of GET /a with a key: false
	// 200 1
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
