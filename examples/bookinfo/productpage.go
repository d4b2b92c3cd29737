package main

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strconv"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/identity"
)

// page is all that is known about the product for one user. It is shown as
// HTML, and as JSON to those who ask with "format=json".
type page struct {
	User    string  `json:"user,omitempty"`
	Book    book    `json:"book"`
	Reviews reviews `json:"reviews"`
	// Details and Review are how the calls of details and reviews went.
	Details hop `json:"details"`
	Review  hop `json:"review"`
	// State is what the mesh of productpage knows, nil unless it is shown.
	State *tulle.State `json:"-"`
	// Refresh asks for the page to be loaded again each second.
	Refresh bool `json:"-"`
	// Gave says that the rating of the user has been taken.
	Gave bool `json:"-"`
	// Asked is the request that it answers, and Refused why there is no page,
	// for those who look at it.
	Asked   request  `json:"-"`
	Refused *refusal `json:"-"`
}

// productpage puts the page together. It logs in whoever asks to be: this is
// a shop for trying out routes, not one for buying.
func (s *service) productpage() http.Handler {
	html := newTemplate()
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", http.RedirectHandler("/productpage", http.StatusFound))
	show := func(w http.ResponseWriter, r *http.Request, given *rating) {
		w.Header().Set("Cache-Control", "no-store")
		if r.FormValue("format") == "json" {
			answer(w, s.page(r.Context(), userOf(r), "/reviews/0", given))
			return
		}
		p := s.page(r.Context(), userOf(r), "/reviews/0?state=1", given)
		state := s.mesh.State()
		p.State, p.Refresh = &state, r.FormValue("refresh") != ""
		p.Gave = given != nil && starsOfReviews(p) == "stars"
		render(w, html, p)
	}
	mux.HandleFunc("GET /productpage", func(w http.ResponseWriter, r *http.Request) { show(w, r, nil) })
	mux.HandleFunc("POST /productpage", func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 1<<10)
		stars, err := strconv.Atoi(r.PostFormValue("stars"))
		if err != nil || stars < 1 || stars > mostStars {
			http.Error(w, "a rating has from 1 to 5 stars", http.StatusBadRequest)
			return
		}
		show(w, r, &rating{stars})
	})
	mux.HandleFunc("POST /login", login)
	mux.HandleFunc("POST /logout", logout)
	return http.NewCrossOriginProtection().Handler(mux)
}

// Known is what the meshes of productpage and of reviews know of endpoints.
func (p page) Known() []known {
	if p.State == nil {
		return p.Reviews.Known
	}
	return slices.Concat(knownOf(*p.State), p.Reviews.Known)
}

// page asks details, and reviews for what is at the path, which gets the
// rating that the user gives, if he does. What cannot be had is left out, and
// why is in its hop: a page with a hole is better than none.
func (s *service) page(ctx context.Context, user, path string, given *rating) page {
	p := page{User: user}
	p.Details = s.get(ctx, user, "details", "/details/0", &p.Book)
	p.Details.served = p.Book.Served
	if given != nil {
		p.Review = s.post(ctx, user, "reviews", path, given, &p.Reviews)
	} else {
		p.Review = s.get(ctx, user, "reviews", path, &p.Reviews)
	}
	p.Review.served = p.Reviews.Served
	return p
}

const userCookie = "user"

// userOf returns who is logged in, "" for nobody: whom the mesh has verified,
// or else who says so in a cookie.
func userOf(r *http.Request) string {
	if who, ok := identity.FromContext(r.Context()); ok && isUser(who.Name) {
		return who.Name
	}
	c, err := r.Cookie(userCookie)
	if err != nil || !isUser(c.Value) {
		return ""
	}
	return c.Value
}

func isUser(name string) bool {
	ok, err := regexp.MatchString(`^[A-Za-z0-9]{1,20}$`, name)
	return err == nil && ok
}

func login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<10)
	user := r.PostFormValue("user")
	if !isUser(user) {
		http.Error(w, "a user has a name of up to 20 letters and digits", http.StatusBadRequest)
		return
	}
	cookie(w, r, user, 0)
}

func logout(w http.ResponseWriter, r *http.Request) { cookie(w, r, "", -1) }

func cookie(w http.ResponseWriter, r *http.Request, user string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: userCookie, Value: user, MaxAge: maxAge, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	http.Redirect(w, r, "/productpage", http.StatusSeeOther)
}
