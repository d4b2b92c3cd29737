package main

import (
	"encoding/json"
	"net/http"
	"sync/atomic"
)

// ratings is how many stars each reviewer gave.
type ratings struct {
	Served served         `json:"served"`
	Stars  map[string]int `json:"stars"`
	// Given is how many ratings this process has taken from readers.
	Given uint64 `json:"given,omitempty"`
}

// rating is what a reader gives.
type rating struct {
	Stars int `json:"stars"`
}

// ratings tells the stars, and takes more of them. What readers give is
// counted, and shown when somebody has looked at it, which nobody does here.
func (s *service) ratings() http.Handler {
	var given atomic.Uint64
	all := func() ratings {
		return ratings{Served: s.served, Stars: map[string]int{"Antonia": 5, "Dromio": 4}, Given: given.Load()}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ratings/0", func(w http.ResponseWriter, r *http.Request) { answer(w, all()) })
	mux.HandleFunc("POST /ratings/0", func(w http.ResponseWriter, r *http.Request) {
		if _, ok := taken(w, r); ok {
			given.Add(1)
			answer(w, all())
		}
	})
	return mux
}

// taken returns the rating that a request brings, or says that it is none.
func taken(w http.ResponseWriter, r *http.Request) (given rating, ok bool) {
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10)).Decode(&given)
	if err != nil || given.Stars < 1 || given.Stars > mostStars {
		http.Error(w, "a rating has from 1 to 5 stars", http.StatusBadRequest)
		return rating{}, false
	}
	return given, true
}
