package match_test

import (
	"fmt"
	"net/http"

	"github.com/tulle-mesh/tulle/match"
)

func Example() {
	m, err := match.Compile(match.Request{
		Hosts:   []string{"reviews"},
		Path:    match.Path{Prefix: "/v1"},
		Headers: []match.Value{{Name: "x-user", Exact: "jason"}},
	})
	if err != nil {
		panic(err)
	}
	for _, url := range []string{
		"http://reviews:9080/v1/products/7",
		"http://reviews:9080/v12",
		"http://reviews:9080/v1/../admin",
	} {
		r, _ := http.NewRequest("GET", url, nil)
		r.Header.Set("X-User", "jason")
		fmt.Println(m.Matches(r), url)
	}
	// Output:
	// true http://reviews:9080/v1/products/7
	// false http://reviews:9080/v12
	// false http://reviews:9080/v1/../admin
}

func ExampleRequest_Validate() {
	err := match.Request{
		Path:    match.Path{Prefix: "v1"},
		Methods: []string{"GET", "GET"},
	}.Validate()
	fmt.Println(err)
	// Output:
	// path.prefix: "v1" does not begin with a slash
	// methods[1]: "GET" is listed twice
}

func ExampleKey() {
	key := match.Key{Cookie: "session"}
	r, _ := http.NewRequest("GET", "http://reviews/", nil)
	_, ok := key.Hash(r)
	fmt.Println(ok)
	r.AddCookie(&http.Cookie{Name: "session", Value: "asdf"})
	hash, ok := key.Hash(r)
	fmt.Printf("%#x %t\n", hash, ok)
	// Output:
	// false
	// 0x415872f599cea71e true
}
