package main

import "net/http"

// reviews is what readers say, with stars if this version asks ratings.
type reviews struct {
	Served  served   `json:"served"`
	Reviews []review `json:"reviews"`
	// Color is that of the stars; v1 has none.
	Color string `json:"color,omitempty"`
	// Ratings is how the call of ratings went; v1 makes none.
	Ratings *hop `json:"ratings,omitempty"`
	// Known is what the mesh of reviews knows of ratings, for those who ask
	// with "state=1".
	Known []known `json:"known,omitempty"`
}

type review struct {
	Reviewer string `json:"reviewer"`
	Text     string `json:"text"`
	// Stars are from 1 to 5, 0 without a rating.
	Stars int `json:"stars,omitempty"`
}

// reviews tells what readers say: v1 without stars, v2 with black ones, v3
// with red ones. Where ratings cannot be had the reviews come without. What a
// reader gives is passed on to ratings.
func (s *service) reviews() http.Handler {
	color := map[string]string{"v2": "black", "v3": "red"}[s.Version]
	mux := http.NewServeMux()
	tell := func(w http.ResponseWriter, r *http.Request, given *rating) {
		all := reviews{Served: s.served, Color: color, Reviews: []review{
			{Reviewer: "Antonia", Text: "Two pairs of twins, one city, and nobody asks the obvious question. I laughed until page two hundred."},
			{Reviewer: "Dromio", Text: "Well told, though whoever is called in it is hardly ever the one who answers."},
		}}
		if color != "" {
			s.rate(r, &all, given)
		}
		if r.FormValue("state") != "" {
			all.Known = knownOf(s.mesh.State())
		}
		answer(w, all)
	}
	mux.HandleFunc("GET /reviews/0", func(w http.ResponseWriter, r *http.Request) { tell(w, r, nil) })
	mux.HandleFunc("POST /reviews/0", func(w http.ResponseWriter, r *http.Request) {
		if given, ok := taken(w, r); ok {
			tell(w, r, &given)
		}
	})
	return mux
}

// rate adds the stars to reviews, and to ratings what a reader gives, if he
// does.
func (s *service) rate(r *http.Request, all *reviews, given *rating) {
	var got ratings
	var h hop
	if user := r.Header.Get(userHeader); given != nil {
		h = s.post(r.Context(), user, "ratings", "/ratings/0", given, &got)
	} else {
		h = s.get(r.Context(), user, "ratings", "/ratings/0", &got)
	}
	h.served = got.Served
	all.Ratings = &h
	for i := range all.Reviews {
		all.Reviews[i].Stars = got.Stars[all.Reviews[i].Reviewer]
	}
}
