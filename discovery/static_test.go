package discovery_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
)

// first returns the first set of a resolver that knows one at once.
func first(t *testing.T, r discovery.Resolver) []endpoint.Info {
	t.Helper()
	for infos, err := range r.Watch(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		return infos
	}
	t.Fatal("nothing yielded")
	return nil
}

// full has something in every field, found by reflection so that a field
// that comes to be added is not forgotten.
func full(t *testing.T) endpoint.Info {
	t.Helper()
	var info endpoint.Info
	v := reflect.ValueOf(&info).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.String:
			f.SetString("a\"<é>:1")
		case reflect.Uint32:
			f.SetUint(1<<32 - 1)
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Map:
			f.Set(reflect.ValueOf(map[string]string{"b": "2", "a": "1", "": ""}))
		default:
			t.Fatalf("no value for field %s", v.Type().Field(i).Name)
		}
	}
	return info
}

func TestStaticKeepsEveryField(t *testing.T) {
	want := full(t)
	if got := first(t, discovery.NewStatic(want)); len(got) != 1 || !reflect.DeepEqual(got[0], want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestStaticIsACopy(t *testing.T) {
	infos := []endpoint.Info{{Addr: "a:1", Labels: map[string]string{"version": "v1"}}}
	s := discovery.NewStatic(infos...)
	infos[0].Addr, infos[0].Labels["version"] = "b:1", "v2"
	if got := first(t, s); got[0].Addr != "a:1" || got[0].Labels["version"] != "v1" {
		t.Errorf("%+v", got)
	}
}

func TestStaticEquality(t *testing.T) {
	info := func(version string) endpoint.Info {
		return endpoint.Info{Addr: "a:1", Labels: map[string]string{"version": version, "track": "stable", "team": "x"}}
	}
	var a, b, c discovery.Resolver = discovery.NewStatic(info("v1")), discovery.NewStatic(info("v1")), discovery.NewStatic(info("v2"))
	if a != b || a == c {
		t.Error("equality is not that of the endpoints")
	}
	if discovery.Addrs("a:1", "b:1") != discovery.NewStatic(endpoint.Info{Addr: "a:1"}, endpoint.Info{Addr: "b:1"}) {
		t.Error("Addrs is not short for NewStatic")
	}
	if discovery.Addrs() != (discovery.Static{}) {
		t.Error("the empty set is not the zero value")
	}
}

func TestValidate(t *testing.T) {
	s := discovery.NewStatic(
		endpoint.Info{Addr: "a:1"}, endpoint.Info{Addr: ":0"}, endpoint.Info{Addr: "b:1", Labels: map[string]string{"": "x"}},
		endpoint.Info{Addr: "a:1", Weight: 2}, endpoint.Info{Addr: "c:1"},
	)
	err := s.Validate()
	if err == nil {
		t.Fatal("no fault")
	}
	want := []string{
		`endpoints[1].addr: ":0" has no host`,
		`endpoints[1].addr: ":0" has no port from 1 to 65535`,
		`endpoints[2].labels: a label has no name`,
		`endpoints[3].addr: "a:1" is that of endpoints[0] too`,
	}
	if got := strings.Split(err.Error(), "\n"); !reflect.DeepEqual(got, want) {
		t.Errorf("%q\nwant\n%q", got, want)
	}
	if err := discovery.Addrs("a:1", "b:1").Validate(); err != nil {
		t.Error(err)
	}
	if err := discovery.Addrs().Validate(); err != nil {
		t.Error("an empty set is a set:", err)
	}
}
