package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// request is one look at the page. The zero request is that of somebody who is
// not logged in.
type request struct {
	// who is what the request is called in what is seen.
	who string
	// user is who is logged in, "" for nobody.
	user string
	// gives says that the user gives a rating, which takes a POST.
	gives bool
	// token is sent as a bearer token, unless it is empty.
	token string
}

// refusal is an answer without a page.
type refusal struct {
	status int
	header http.Header
	// problem is what the body says, zero if it is not of the form
	// problem+json.
	problem struct{ Title, Detail, Reason string }
}

func (r *refusal) Error() string {
	if r.problem.Reason == "" {
		return "the answer is " + http.StatusText(r.status)
	}
	return fmt.Sprintf("%d %s: %s", r.status, r.problem.Title, r.problem.Detail)
}

// newClient returns a client that has room for many requests at once.
func newClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy, transport.MaxIdleConnsPerHost = nil, 64
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// look asks for the page as a user, "" for one who is not logged in.
func (f *fleet) look(ctx context.Context, user string) (page, error) {
	p, err := f.ask(ctx, request{user: user})
	if err == nil && p.Refused != nil {
		return page{}, fmt.Errorf("%s: %w", f.url(), p.Refused)
	}
	return p, err
}

// ask asks for the page. That it is refused is no error.
func (f *fleet) ask(ctx context.Context, q request) (page, error) {
	p := page{Asked: q}
	err := f.fetch(ctx, f.url()+"?format=json", q, &p)
	if refused, ok := errors.AsType[*refusal](err); ok {
		p.Refused, err = refused, nil
	}
	return p, err
}

// fetch asks for JSON. What is refused is a *refusal.
func (f *fleet) fetch(ctx context.Context, at string, q request, answer any) error {
	method, form := http.MethodGet, url.Values{}
	if q.gives {
		method = http.MethodPost
		form.Set("stars", "5")
	}
	req, err := http.NewRequestWithContext(ctx, method, at, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	if q.gives {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if q.user != "" {
		req.AddCookie(&http.Cookie{Name: userCookie, Value: q.user})
	}
	if q.token != "" {
		req.Header.Set("Authorization", "Bearer "+q.token)
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusOK {
		return json.Unmarshal(body, answer)
	}
	refused := &refusal{status: resp.StatusCode, header: resp.Header}
	if resp.Header.Get("Content-Type") == "application/problem+json" {
		_ = json.Unmarshal(body, &refused.problem)
	}
	return refused
}
