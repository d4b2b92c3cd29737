package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/breaker"
)

// view is what tasks read of the state of a mesh, where it serves that as JSON.
type view struct {
	Services []serviceView
	Routes   []struct{ Mirrors []tulle.MirrorState }
}

type serviceView struct {
	Name      string
	Endpoints []endpointView
	Parts     []balancer.Part
	Breakers  []struct {
		State  breaker.State
		Opened uint64
	}
}

type endpointView struct {
	Addr, Zone string
	Known      time.Time
	Available  bool
	Holds      []struct {
		Hold, Reason string
		Due          time.Time
	}
	Outliers tulle.OutlierState
}

// out returns the endpoints that are left out.
func (s serviceView) out() []endpointView {
	return slices.DeleteFunc(slices.Clone(s.Endpoints), func(e endpointView) bool { return e.Available })
}

// view returns the state of the mesh in a process.
func (f *fleet) view(ctx context.Context, p *process) (view, error) {
	var v view
	err := f.fetch(ctx, "http://"+p.debug+"/?format=json", request{}, &v)
	return v, err
}

// ratings returns what the mesh of reviews v3 knows of ratings.
func (f *fleet) ratings(ctx context.Context) (serviceView, error) {
	v, err := f.view(ctx, f.version("reviews", "v3")[0])
	if err != nil {
		return serviceView{}, err
	}
	for _, s := range v.Services {
		if s.Name == "ratings" {
			return s, nil
		}
	}
	return serviceView{}, fmt.Errorf("the mesh of reviews v3 does not know ratings")
}
