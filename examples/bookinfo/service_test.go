package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/match"
)

// newService returns a service in this process, with a mesh that has the
// settings.
func newService(t *testing.T, name, version string, s settings) *service {
	mesh, err := tulle.New(s.config(""), tulle.WithHooks(tulle.Hooks{CallDone: note}))
	require.NoError(t, err)
	// The context of the test has ended by then: what goes on is cut off.
	t.Cleanup(func() { _ = mesh.Shutdown(t.Context()) })
	return &service{served: served{Service: name, Version: version, PID: 1}, mesh: mesh, client: mesh.Client()}
}

// listening serves a handler and returns its endpoint.
func listening(t *testing.T, h http.Handler) endpoint.Info {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return endpoint.Info{Addr: server.Listener.Addr().String(), Labels: map[string]string{"version": "v1"}}
}

// ask sends a request to a handler as if it came from the network.
func ask(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestShop walks a page through all four services in one process: the user
// is passed on all the way, and the page knows who answered.
func TestShop(t *testing.T) {
	var users []string
	seeing := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			users = append(users, r.URL.Path+" "+r.Header.Get(userHeader))
			h.ServeHTTP(w, r)
		})
	}
	leaf := newService(t, "ratings", "v1", settings{})
	ratings := listening(t, seeing(leaf.front(leaf.ratings())))
	details := listening(t, seeing(newService(t, "details", "v1", settings{}).details()))
	reviews := listening(t, seeing(newService(t, "reviews", "v2", settings{
		Endpoints: map[string][]endpoint.Info{"ratings": {ratings}}, PerTry: time.Minute,
	}).reviews()))
	shop := newService(t, "productpage", "v1", settings{
		Endpoints: map[string][]endpoint.Info{"details": {details}, "reviews": {reviews}}, PerTry: time.Minute,
	}).productpage()

	r := httptest.NewRequest(http.MethodGet, "/productpage?format=json", nil)
	r.AddCookie(&http.Cookie{Name: userCookie, Value: "jason"})
	var p page
	require.NoError(t, json.Unmarshal(ask(shop, r).Body.Bytes(), &p))
	require.Equal(t, []string{"/details/0 jason", "/reviews/0 jason", "/ratings/0 jason"}, users)
	require.Equal(t, "v2", p.Review.Version)
	require.Equal(t, reviews.Addr, p.Review.Endpoint)
	require.Equal(t, 1, p.Review.Attempts)
	require.Equal(t, "black", p.Reviews.Color)
	require.Equal(t, 5, p.Reviews.Reviews[0].Stars)
	require.Equal(t, ratings.Addr, p.Reviews.Ratings.Endpoint)
	require.Equal(t, "stars", starsOfReviews(p))
	require.Equal(t, "v2", versionOfReviews(p))

	given := func(stars string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/productpage?format=json", strings.NewReader(url.Values{"stars": {stars}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return ask(shop, r)
	}
	p, users = page{}, nil
	require.NoError(t, json.Unmarshal(given("4").Body.Bytes(), &p))
	require.Equal(t, []string{"/details/0 ", "/reviews/0 ", "/ratings/0 "}, users)
	require.Equal(t, "stars", starsOfReviews(p))
	for _, bad := range []string{"", "0", "6", "x", strings.Repeat("1", 2<<10)} {
		require.Equal(t, http.StatusBadRequest, given(bad).Code, bad)
	}
	gives := httptest.NewRequest(http.MethodPost, "/productpage", strings.NewReader("stars=4"))
	gives.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	requireText(t, ask(shop, gives).Body.String(), "Thank you.")
	requireText(t, ask(shop, httptest.NewRequest(http.MethodGet, "/productpage", nil)).Body.String(), "Give stars")
	var stored struct{ Given uint64 }
	require.NoError(t, json.Unmarshal(ask(leaf.ratings(), httptest.NewRequest(http.MethodPost, "/ratings/0", strings.NewReader(`{"stars": 1}`))).Body.Bytes(), &stored))
	require.EqualValues(t, 1, stored.Given)
	for _, bad := range []string{"", "[]", `{"stars": 6}`} {
		require.Equal(t, http.StatusBadRequest, ask(leaf.ratings(), httptest.NewRequest(http.MethodPost, "/ratings/0", strings.NewReader(bad))).Code)
	}

	trouble := failing()
	require.NoError(t, leaf.take(settings{Fault: &trouble}))
	p = page{}
	require.NoError(t, json.Unmarshal(ask(shop, r).Body.Bytes(), &p))
	require.Equal(t, "503 Service Unavailable", p.Reviews.Ratings.Error)
	require.Empty(t, p.Review.Error)
	require.Len(t, p.Reviews.Reviews, 2)
	require.Equal(t, "no stars", starsOfReviews(p))
}

// TestShopWhileABreakerIsOpen: the page has reviews, says that the breaker is
// open and until when, and shows what the mesh of reviews knows of ratings.
func TestShopWhileABreakerIsOpen(t *testing.T) {
	leaf := newService(t, "ratings", "v1", settings{})
	trouble := failing()
	require.NoError(t, leaf.take(settings{Fault: &trouble}))
	ratings := listening(t, leaf.front(leaf.ratings()))
	guarded := tulle.Route{
		Name: "ratings", Match: []match.Request{{Hosts: []string{"ratings"}}},
		Policies: tulle.Policies{Breaker: &breaker.Policy{Consecutive: 2, OpenFor: time.Hour}},
	}
	reviews := listening(t, newService(t, "reviews", "v2", settings{
		Endpoints: map[string][]endpoint.Info{"ratings": {ratings}}, PerTry: time.Minute, Routes: []tulle.Route{guarded},
	}).reviews())
	shop := newService(t, "productpage", "v1", settings{
		Endpoints: map[string][]endpoint.Info{"reviews": {reviews}}, PerTry: time.Minute,
	}).productpage()

	for _, fate := range []string{"failed", "failed", "refused", "refused"} {
		var p page
		w := ask(shop, httptest.NewRequest(http.MethodGet, "/productpage?format=json", nil))
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p))
		require.Equal(t, fate, fateOfRatings(p))
		require.Len(t, p.Reviews.Reviews, 2)
		require.Equal(t, fate == "refused", p.Reviews.Ratings.RetryAfter > 59*time.Minute)
		require.Empty(t, p.Reviews.Known)
	}
	require.EqualValues(t, 2, leaf.requests.Load())
	html := ask(shop, httptest.NewRequest(http.MethodGet, "/productpage", nil)).Body.String()
	for _, part := range []string{
		"the circuit breaker is open", "ratings is asked again in 1h", "<td>ratings</td><td>v1</td>", "<code>" + ratings.Addr + "</code>",
		`<td class="number">0</td><td class="number">2</td>`,
	} {
		requireText(t, html, part)
	}
}

// TestShopAlone: where nothing answers there still is a page, and it says why.
func TestShopAlone(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	nobody := []endpoint.Info{{Addr: gone.Listener.Addr().String(), Labels: map[string]string{"version": "v1"}}}
	shop := newService(t, "productpage", "v1", settings{
		Endpoints: map[string][]endpoint.Info{"details": nobody, "reviews": nobody}, PerTry: time.Minute,
	}).productpage()

	w := ask(shop, httptest.NewRequest(http.MethodGet, "/productpage", nil))
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, 2, strings.Count(w.Body.String(), "cannot be shown just now"))
	require.Contains(t, w.Body.String(), "tulle: service details at "+nobody[0].Addr+": no connection to the endpoint")
}

func TestLogin(t *testing.T) {
	shop := newService(t, "productpage", "v1", settings{}).productpage()
	post := func(path, user, site string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(url.Values{"user": {user}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", site)
		return ask(shop, r)
	}
	w := post("/login", "jason", "same-origin")
	require.Equal(t, http.StatusSeeOther, w.Code)
	require.Equal(t, "/productpage", w.Header().Get("Location"))
	require.Len(t, w.Result().Cookies(), 1)
	require.Equal(t, "jason", w.Result().Cookies()[0].Value)

	for _, user := range []string{"", "two words", "a\nb", strings.Repeat("x", 21), strings.Repeat("x", 2<<10)} {
		w := post("/login", user, "same-origin")
		require.Equal(t, http.StatusBadRequest, w.Code, user)
		require.Empty(t, w.Result().Cookies(), user)
	}
	require.Equal(t, http.StatusForbidden, post("/login", "jason", "cross-site").Code)
	require.Negative(t, post("/logout", "", "same-origin").Result().Cookies()[0].MaxAge)
}

// TestUserIsChecked: a cookie is input from outside, whoever set it.
func TestUserIsChecked(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/productpage", nil)
	r.Header.Set("Cookie", "user=ja/son")
	require.Empty(t, userOf(r))
	r.Header.Set("Cookie", "user=jason")
	require.Equal(t, "jason", userOf(r))
}
