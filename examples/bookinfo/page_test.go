package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/mirror"
	"github.com/tulle-mesh/tulle/outcome"
)

// rendered returns the HTML of a page.
func rendered(t *testing.T, p page) string {
	w := httptest.NewRecorder()
	render(w, newTemplate(), p)
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
	require.True(t, strings.HasSuffix(strings.TrimSpace(w.Body.String()), "</html>"))
	return w.Body.String()
}

func TestPageShowsWhoAnswered(t *testing.T) {
	html := rendered(t, page{
		User:    "jason",
		Book:    book{Title: "The Comedy of Errors", Author: "William Shakespeare"},
		Details: hop{To: "details", served: served{"details", "v1", 4711, "a", "TLS 1.3"}, Endpoint: "127.0.0.1:1001", Attempts: 1, Took: time.Millisecond},
		Review:  hop{To: "reviews", served: served{"reviews", "v3", 4712, "a", ""}, Endpoint: "127.0.0.1:1002", Attempts: 1},
		Reviews: reviews{
			Color:   "red",
			Reviews: []review{{Reviewer: "Antonia", Text: "Fine.", Stars: 4}},
			Ratings: &hop{To: "ratings", served: served{"ratings", "v1", 4713, "b", ""}, Endpoint: "127.0.0.1:1003", Attempts: 2},
		},
	})
	for _, part := range []string{
		"The Comedy of Errors", "William Shakespeare", "logged in as <b>jason</b>",
		"details v1", "127.0.0.1:1001", "pid 4711", "<span>TLS 1.3</span>", "1 attempt</span>", "1ms",
		"reviews v3", "127.0.0.1:1002", "pid 4712",
		"ratings v1", "127.0.0.1:1003", "pid 4713", "zone b", "2 attempts",
		`class="stars red" title="4 of 5">★★★★<i>★</i>`,
	} {
		requireText(t, html, part)
	}
	require.NotContains(t, html, "cannot be shown")
	require.NotContains(t, html, "http-equiv")
}

func TestPageWithHoles(t *testing.T) {
	whole := page{Reviews: reviews{Color: "red", Reviews: []review{{Reviewer: "Antonia", Stars: 5}}, Ratings: &hop{}}}
	require.NotContains(t, rendered(t, whole), "cannot be shown")

	noDetails, noReviews, noStars := whole, whole, whole
	noDetails.Details.Error = "no details"
	noReviews.Review.Error = "no reviews"
	noStars.Reviews = reviews{Color: "red", Reviews: []review{{Reviewer: "Antonia"}}, Ratings: &hop{Error: "no ratings", Local: "breaker_open"}}
	for p, want := range map[*page][]string{
		&noDetails: {"The details cannot be shown just now", "no details"},
		&noReviews: {"The reviews cannot be shown just now", "no reviews"},
		&noStars:   {"stars cannot be shown just now", "no ratings", "answered by the mesh: breaker_open"},
	} {
		html := rendered(t, *p)
		require.Equal(t, 1, strings.Count(html, "cannot be shown"))
		for _, part := range want {
			requireText(t, html, part)
		}
	}
}

// TestPageEscapes: what a service answers or a user is called is text.
func TestPageEscapes(t *testing.T) {
	const evil = `<script>alert("x")</script>`
	html := rendered(t, page{
		User: evil, Book: book{Title: evil, Author: evil},
		Details: hop{To: evil, Error: evil, Endpoint: evil},
		Reviews: reviews{Color: `red" onclick="x`, Reviews: []review{{Reviewer: evil, Text: evil, Stars: 1000}}},
	})
	require.NotContains(t, html, "<script")
	require.NotContains(t, html, `" onclick="`)
	require.Equal(t, mostStars, strings.Count(html, "★"))
}

// TestPageNeedsNothingFromElsewhere: no script, font, picture or style sheet.
func TestPageNeedsNothingFromElsewhere(t *testing.T) {
	for _, outside := range []string{"<script", "<link", "<img", "src=", "url(", "@import", "http://", "https://"} {
		require.NotContains(t, pageHTML, outside)
	}
}

func TestPageShowsState(t *testing.T) {
	html := rendered(t, page{Refresh: true, State: &tulle.State{
		Inbound: tulle.InboundState{Calls: tulle.CallCounts{Calls: 90, Reasons: map[outcome.Reason]uint64{outcome.RateLimited: 3}}},
		Services: []tulle.ServiceState{{Name: "reviews", Endpoints: []tulle.EndpointState{
			{Addr: "127.0.0.1:1", Zone: "b", Labels: map[string]string{"version": "v3"}, Available: true, OK: 12, Failed: 34},
			{Addr: "127.0.0.1:2", Holds: []tulle.HoldState{{Reason: "discovery"}}},
		}}},
		Routes: []tulle.RouteState{{Name: "everybody", Split: []tulle.DestinationState{
			{Destination: tulle.Destination{Service: "reviews", Subset: "v3", Weight: 7}, Calls: 56},
		}, Mirrors: []tulle.MirrorState{
			{Mirror: tulle.Mirror{Service: "reviews", Subset: "v2"}, Stats: mirror.Stats{Sent: 78}},
		}}},
	}})
	for _, part := range []string{
		"Requests to productpage: 90; answered by its mesh as rate_limited: 3<",
		"<td>reviews</td><td>v3</td><td>b</td><td><code>127.0.0.1:1</code></td><td>available</td>", "<td>not_ready: discovery</td>",
		`<td class="number">12</td><td class="number">34</td>`,
		`<td>everybody</td><td>reviews v3</td><td class="number">7</td><td class="number">56</td>`,
		`<td>everybody</td><td>reviews v2</td><td class="number">copies</td><td class="number">78</td>`, `http-equiv="refresh"`,
	} {
		requireText(t, html, part)
	}
}

// requireText is require.Contains without the whole page in its message.
func requireText(t *testing.T, html, part string) {
	t.Helper()
	require.True(t, strings.Contains(html, part), "%q is not in the page", part)
}
