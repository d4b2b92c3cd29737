package authn_test

import (
	"context"
	"crypto"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/authn"
	"github.com/tulle-mesh/tulle/outcome"
)

func named(s crypto.Signer, kid string) object { return jwk(s, object{"kid": kid}) }

func ed(kid string) string { return token(edKey(), "EdDSA", kid, nil) }

// fetched runs f with a verifier of a server that publishes set, and that is
// prepared before anybody asks it.
func fetched(t *testing.T, set string, f func(t *testing.T, s *server, v *authn.Verifier), prepare ...func(*server)) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, set)
		for _, prepared := range prepare {
			s.serve(prepared)
		}
		v := verifier(t, s.policy(t))
		f(t, s, v)
	})
}

func verify(t testing.TB, v *authn.Verifier, token string) string {
	_, err := v.Verify(t.Context(), token)
	return kindOf(err)
}

func TestFirstFetchIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, jwks(named(edKey(), "a")))
		s.delay = 3 * time.Second
		begin := time.Now()
		v := verifier(t, s.policy(t))
		assert.Zero(t, time.Since(begin), "New waits")
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				// One token each, since one that is known waits for nothing.
				assert.Equal(t, "<nil>", verify(t, v, token(edKey(), "EdDSA", "a", nil)))
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := v.Verify(ctx, ed("a"))
		assert.Equal(t, "keys_unavailable", kindOf(err))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(begin))
		wg.Wait()
		assert.Equal(t, 3*time.Second, time.Since(begin))
		assert.Equal(t, 1, s.requests())
	})
}

// An issuer that does not answer holds nobody up for longer than a bound, and
// those it holds up are answered as soon as it is certain.
func TestSilentIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, jwks(named(edKey(), "a")))
		s.network.Blackhole("127.0.0.1:8080")
		v := verifier(t, s.policy(t))
		begin := time.Now()
		_, err := v.Verify(t.Context(), ed("a"))
		refused, _ := err.(*authn.Error)
		require.NotNil(t, refused)
		assert.Equal(t, authn.KeysUnavailable, refused.Kind)
		assert.Equal(t, http.StatusServiceUnavailable, refused.Status())
		assert.Empty(t, refused.Challenge())
		assert.GreaterOrEqual(t, refused.RetryAfter, time.Second)
		assert.Equal(t, 5*time.Second, time.Since(begin))
		s.network.Heal("127.0.0.1:8080")
		time.Sleep(time.Minute)
		assert.Equal(t, "<nil>", verify(t, v, ed("a")), "a first failure must not last")
	})
}

// With a set in hand nobody waits for another, known keys least of all.
func TestKnownKeysNeverWait(t *testing.T) {
	fetched(t, jwks(named(edKey(), "a")), func(t *testing.T, s *server, v *authn.Verifier) {
		require.Equal(t, "<nil>", verify(t, v, ed("a")))
		s.serve(func(s *server) { s.delay = 4 * time.Second })
		var wg sync.WaitGroup
		wg.Go(func() { verify(t, v, ed("unknown")) })
		synctest.Wait()
		begin := time.Now()
		assert.Equal(t, "<nil>", verify(t, v, token(edKey(), "EdDSA", "a", object{"sub": "bob"})))
		assert.Zero(t, time.Since(begin))
		wg.Wait()
		assert.Equal(t, 4*time.Second, time.Since(begin))
	})
}

func TestRotation(t *testing.T) {
	fetched(t, jwks(named(edKey(), "a")), func(t *testing.T, s *server, v *authn.Verifier) {
		old := ed("a")
		require.Equal(t, "<nil>", verify(t, v, old))
		fresh := token(edOther(), "EdDSA", "b", nil)
		// Both are published for a while; the new one works at its first use.
		s.serve(func(s *server) { s.set = jwks(named(edKey(), "a"), named(edOther(), "b")) })
		assert.Equal(t, "<nil>", verify(t, v, fresh))
		assert.Equal(t, "<nil>", verify(t, v, old))
		assert.EqualValues(t, 1, v.Stats().Cached, "what the old key has verified stays so")
		// The old one is taken back: what it has verified counts no more.
		s.serve(func(s *server) { s.set = jwks(named(edOther(), "b")) })
		assert.Equal(t, "<nil>", verify(t, v, old), "nobody knows of it yet: the negative control")
		time.Sleep(10 * time.Minute)
		assert.Equal(t, "unknown_key", verify(t, v, old))
		assert.Equal(t, "<nil>", verify(t, v, fresh))
		assert.EqualValues(t, 3, v.Stats().Cached)
	})
}

// A key that is replaced under its own name is not the same key.
func TestKeyReplacedUnderItsName(t *testing.T) {
	fetched(t, jwks(named(edKey(), "a")), func(t *testing.T, s *server, v *authn.Verifier) {
		old := ed("a")
		require.Equal(t, "<nil>", verify(t, v, old))
		s.serve(func(s *server) { s.set = jwks(named(edOther(), "a")) })
		time.Sleep(10 * time.Minute)
		assert.Equal(t, "bad_signature", verify(t, v, old))
		assert.Equal(t, "<nil>", verify(t, v, token(edOther(), "EdDSA", "a", nil)))
		// Everything is taken back.
		s.serve(func(s *server) { s.set = jwks() })
		time.Sleep(10 * time.Minute)
		assert.Equal(t, "unknown_key", verify(t, v, token(edOther(), "EdDSA", "a", nil)))
	})
}

func TestUnknownKeysShareOneFetch(t *testing.T) {
	fetched(t, jwks(named(edKey(), "a")), func(t *testing.T, s *server, v *authn.Verifier) {
		require.Equal(t, "<nil>", verify(t, v, ed("a")))
		require.Equal(t, 1, s.requests())
		s.serve(func(s *server) { s.delay = time.Second })
		flood := func(round int) {
			var wg sync.WaitGroup
			for i := range 1000 {
				forged := compact(edOther(), "EdDSA", fmt.Sprintf(`{"alg":"EdDSA","kid":"%d-%d"}`, round, i), `{"iss":"`+issuerName+`"}`)
				wg.Go(func() { assert.Equal(t, "unknown_key", verify(t, v, forged)) })
			}
			wg.Wait()
		}
		flood(0)
		assert.Equal(t, 2, s.requests())
		flood(1) // within 10 seconds: no fetch
		assert.Equal(t, 2, s.requests())
		time.Sleep(10 * time.Second)
		flood(2)
		assert.Equal(t, 3, s.requests())
		// A new key is found as soon as one may be fetched again.
		s.serve(func(s *server) { s.set = jwks(named(edKey(), "a"), named(edOther(), "b")) })
		assert.Equal(t, "unknown_key", verify(t, v, token(edOther(), "EdDSA", "b", nil)))
		time.Sleep(10 * time.Second)
		assert.Equal(t, "<nil>", verify(t, v, token(edOther(), "EdDSA", "b", nil)))
		assert.Equal(t, 4, s.requests())
	})
}

// A key that was asked for in vain is not asked for again for a minute, so
// that one caller with an old token causes no stream of fetches.
func TestAbsentKeysAreRemembered(t *testing.T) {
	fetched(t, jwks(named(edKey(), "a")), func(t *testing.T, s *server, v *authn.Verifier) {
		require.Equal(t, "<nil>", verify(t, v, ed("a")))
		for range 60 {
			assert.Equal(t, "unknown_key", verify(t, v, ed("gone")))
			time.Sleep(time.Second)
		}
		assert.Equal(t, 2, s.requests())
		assert.Equal(t, "unknown_key", verify(t, v, ed("gone")))
		assert.Equal(t, 3, s.requests())
		time.Sleep(10 * time.Second)
		assert.Equal(t, "unknown_key", verify(t, v, ed("other")))
		assert.Equal(t, 4, s.requests(), "another key is asked for: the negative control")
	})
}

func TestOutage(t *testing.T) {
	fetched(t, jwks(named(edKey(), "a")), func(t *testing.T, s *server, v *authn.Verifier) {
		require.Equal(t, "<nil>", verify(t, v, ed("a")))
		s.serve(func(s *server) { s.status = http.StatusInternalServerError })
		for range 23 {
			time.Sleep(time.Hour)
			assert.Equal(t, "<nil>", verify(t, v, ed("a")))
		}
		state := v.Stats().KeySets[issuerName]
		assert.True(t, state.Usable)
		assert.Greater(t, state.Age, 22*time.Hour)
		assert.Contains(t, state.Err, "500")
		// At most one each five minutes, or two and a half with the jitter.
		assert.Less(t, s.requests(), 23*24+20)
		// Whether an unknown key is new, nobody can tell.
		assert.Equal(t, "keys_unavailable", verify(t, v, token(edOther(), "EdDSA", "b", nil)))
		remembered := token(edKey(), "EdDSA", "a", object{"exp": time.Now().Add(3 * time.Hour).Unix()})
		assert.Equal(t, "<nil>", verify(t, v, remembered))
		time.Sleep(2 * time.Hour)
		assert.Equal(t, "keys_unavailable", verify(t, v, ed("a")))
		assert.Equal(t, "keys_unavailable", verify(t, v, remembered), "what was verified with keys that old")
		assert.False(t, v.Stats().KeySets[issuerName].Usable)
		s.serve(func(s *server) { s.status = 0 })
		time.Sleep(5 * time.Minute)
		assert.Equal(t, "<nil>", verify(t, v, ed("a")))
		assert.Empty(t, v.Stats().KeySets[issuerName].Err)
	})
}

// A set that is refused is a failure like any other: what there was stays.
func TestBadSetsAreRefused(t *testing.T) {
	a := named(edKey(), "a")
	for name, set := range map[string]string{
		"text":           `hello`,
		"HTML":           `<html>please log in</html>`,
		"nothing":        ``,
		"no keys":        `{}`,
		"keys no array":  `{"keys":{}}`,
		"keys null":      `{"keys":null}`,
		"keys twice":     `{"keys":[],"keys":[]}`,
		"followed":       jwks(a) + `{}`,
		"no object":      `{"keys":[1]}`,
		"member twice":   `{"keys":[{"kty":"OKP","kid":"a","kid":"a"}]}`,
		"same kid":       jwks(a, named(ecKey(), "a")),
		"same key twice": jwks(a, a),
		"kid unused":     jwks(a, jwk(ecKey(), object{"kid": "a", "use": "enc"})),
		"kid a number":   jwks(jwk(edKey(), object{"kid": 1})),
		"kid long":       jwks(named(edKey(), strings.Repeat("k", 257))),
		"symmetric":      jwks(a, object{"kty": "oct", "k": "AAAA"}),
		"oct without k":  jwks(a, object{"kty": "oct"}),
		"private":        jwks(jwk(edKey(), object{"d": "AAAA"})),
		"private RSA":    jwks(a, jwk(rsaKey(), object{"p": "AAAA"})),
		"too many":       `{"keys":[` + strings.TrimSuffix(strings.Repeat(`{},`, 101), ",") + `]}`,
		"too long":       `{"x":"` + strings.Repeat("x", 1<<20) + `","keys":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			fetched(t, jwks(named(edKey(), "z")), func(t *testing.T, s *server, v *authn.Verifier) {
				require.Equal(t, "<nil>", verify(t, v, ed("z")))
				s.serve(func(s *server) { s.set = set })
				time.Sleep(15 * time.Minute)
				assert.Equal(t, "<nil>", verify(t, v, ed("z")))
				state := v.Stats().KeySets[issuerName]
				assert.Contains(t, state.Err, "refused")
				assert.Equal(t, 1, state.Keys)
				assert.Greater(t, state.Failures, uint64(1))
			})
		})
	}
}

// Keys that cannot be used are left out, and said to be; the others are used.
func TestKeysLeftOut(t *testing.T) {
	weak := object{"kty": "RSA", "kid": "b", "n": b64([]byte(strings.Repeat("\xff", 128))), "e": "AQAB"}
	for name, c := range map[string]struct {
		key  object
		want string
	}{
		"encryption":      {jwk(rsaKey(), object{"kid": "b", "use": "enc"}), `key "b" is not for signatures`},
		"use a number":    {jwk(rsaKey(), object{"kid": "b", "use": 1}), `key "b" is not for signatures`},
		"signing only":    {jwk(rsaKey(), object{"kid": "b", "key_ops": []string{"sign"}}), `key "b" is not for verifying`},
		"unknown alg":     {jwk(rsaKey(), object{"kid": "b", "alg": "RSA-OAEP"}), `key "b" is for an unknown algorithm`},
		"HMAC":            {jwk(rsaKey(), object{"kid": "b", "alg": "HS256"}), `key "b" is for an unknown algorithm`},
		"none":            {jwk(rsaKey(), object{"kid": "b", "alg": "none"}), `key "b" is for an unknown algorithm`},
		"unknown kind":    {object{"kty": "AKP", "kid": "b"}, `key "b" is of an unknown kind`},
		"no kind":         {object{}, `keys[1] is of an unknown kind`},
		"unknown curve":   {jwk(ecKey(), object{"kid": "b", "crv": "secp256k1"}), `key "b" is of an unknown kind`},
		"X25519":          {jwk(edKey(), object{"kid": "b", "crv": "X25519"}), `key "b" is of an unknown kind`},
		"weak":            {weak, `key "b": an RSA key of 1024 bits is too weak, 2048 are the least`},
		"huge":            {jwk(rsaKey(), object{"kid": "b", "n": b64([]byte(strings.Repeat("\xff", 2000)))}), `key "b": n is too long`},
		"exponent 1":      {jwk(rsaKey(), object{"kid": "b", "e": "AQ"}), `key "b": 1 is no exponent`},
		"exponent even":   {jwk(rsaKey(), object{"kid": "b", "e": "BA"}), `key "b": 4 is no exponent`},
		"exponent long":   {jwk(rsaKey(), object{"kid": "b", "e": "AQAAAAAB"}), `key "b": e is too long`},
		"no modulus":      {object{"kty": "RSA", "kid": "b", "e": "AQAB"}, `key "b": n is no number`},
		"padded":          {jwk(rsaKey(), object{"kid": "b", "e": "AQAB=="}), `key "b": e is no number`},
		"off its curve":   {jwk(ecKey(), object{"kid": "b", "x": b64(make([]byte, 32))}), `key "b": `},
		"other curve":     {jwk(ecKey(), object{"kid": "b", "crv": "P-384"}), `key "b": `},
		"short":           {jwk(edKey(), object{"kid": "b", "x": b64(make([]byte, 31))}), `key "b": an Ed25519 key of 31 bytes`},
		"alg of RSA":      {jwk(ecKey(), object{"kid": "b", "alg": "RS256"}), `key "b": it says RS256 and cannot be used for that`},
		"alg of EC":       {jwk(rsaKey(), object{"kid": "b", "alg": "ES256"}), `key "b": it says ES256 and cannot be used for that`},
		"alg of P-384":    {jwk(ecKey(), object{"kid": "b", "alg": "ES384"}), `key "b": it says ES384 and cannot be used for that`},
		"alg of Ed25519":  {jwk(ecKey(), object{"kid": "b", "alg": "EdDSA"}), `key "b": it says EdDSA and cannot be used for that`},
		"alg of EC in Ed": {jwk(edOther(), object{"kid": "b", "alg": "ES256"}), `key "b": it says ES256 and cannot be used for that`},
	} {
		t.Run(name, func(t *testing.T) {
			fetched(t, jwks(named(edKey(), "a"), c.key), func(t *testing.T, s *server, v *authn.Verifier) {
				assert.Equal(t, "<nil>", verify(t, v, ed("a")))
				state := v.Stats().KeySets[issuerName]
				assert.Equal(t, 1, state.Keys)
				require.Len(t, state.LeftOut, 1)
				assert.Contains(t, state.LeftOut[0], c.want)
				for alg, key := range map[string]crypto.Signer{"RS256": rsaKey(), "ES256": ecKey(), "EdDSA": edOther()} {
					assert.NotEqual(t, "<nil>", verify(t, v, token(key, alg, "b", nil)))
				}
			})
		})
	}
}

func TestCacheControl(t *testing.T) {
	const age = "Age: 600, " // of caches in between, taken off
	for field, want := range map[string]time.Duration{
		"":                             10 * time.Minute,
		"public":                       10 * time.Minute,
		"max-age=1800":                 30 * time.Minute,
		"public, Max-Age=1800, x":      30 * time.Minute,
		`max-age="1800"`:               30 * time.Minute,
		"max-age=0":                    time.Minute,
		"max-age=31536000":             time.Hour,
		"max-age=99999999999999999999": time.Minute,
		"max-age=-1":                   time.Minute,
		"no-store":                     time.Minute,
		"no-cache, max-age=1800":       time.Minute,
		age + "max-age=1800":           20 * time.Minute,
		age + "max-age=601":            time.Minute,
		age + "public":                 10 * time.Minute,
	} {
		t.Run(field, func(t *testing.T) {
			fetched(t, jwks(named(edKey(), "a")), func(t *testing.T, s *server, v *authn.Verifier) {
				require.Equal(t, "<nil>", verify(t, v, ed("a")))
				synctest.Wait()
				had := s.requests()
				wait := time.Until(v.Stats().KeySets[issuerName].Next)
				assert.LessOrEqual(t, wait, want)
				assert.GreaterOrEqual(t, wait, want*9/10)
				time.Sleep(wait - 1)
				synctest.Wait()
				assert.Equal(t, had, s.requests())
				time.Sleep(time.Second)
				assert.Equal(t, had+1, s.requests())
			}, func(s *server) {
				if rest, ok := strings.CutPrefix(field, age); ok {
					field = rest
					s.header.Set("Age", "600")
				}
				s.header.Set("Cache-Control", field)
			})
		})
	}
}

func TestETag(t *testing.T) {
	fetched(t, jwks(named(edKey(), "a")), func(t *testing.T, s *server, v *authn.Verifier) {
		require.Equal(t, "<nil>", verify(t, v, ed("a")))
		time.Sleep(time.Hour)
		state := v.Stats().KeySets[issuerName]
		assert.Greater(t, state.Fetches, uint64(5))
		assert.EqualValues(t, 1, state.Changes)
		assert.Less(t, state.Age, 11*time.Minute, "304 says that the set is as it was")
		s.serve(func(s *server) {
			for i, r := range s.hits {
				assert.Equal(t, i > 0, r.Header.Get("If-None-Match") == `"1"`)
			}
			s.header.Set("Etag", `"2"`)
			s.set = jwks(named(edOther(), "b"))
		})
		time.Sleep(10 * time.Minute)
		assert.Equal(t, "unknown_key", verify(t, v, ed("a")))
		assert.EqualValues(t, 2, v.Stats().KeySets[issuerName].Changes)
	}, func(s *server) { s.header.Set("Etag", `"1"`) })
}

func TestRedirects(t *testing.T) {
	for to, want := range map[string]string{
		"/jwks.json?moved":            "<nil>",
		"http://127.0.0.1:9090/jwks":  "keys_unavailable",
		"https://127.0.0.1:8080/jwks": "keys_unavailable",
		"http://169.254.169.254/":     "keys_unavailable",
		"/loop":                       "keys_unavailable",
	} {
		t.Run(to, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t, jwks(named(edKey(), "a")))
				p := s.policy(t)
				visited := 0
				p.Issuers[0].Transport = &visitor{p.Issuers[0].Transport, func(r *http.Request) *http.Response {
					visited++
					if r.URL.RawQuery == "moved" {
						return nil
					}
					return &http.Response{StatusCode: http.StatusFound, Header: http.Header{"Location": {to}}, Body: http.NoBody, Request: r}
				}}
				assert.Equal(t, want, verify(t, verifier(t, p), ed("a")))
				assert.LessOrEqual(t, visited, 4)
			})
		})
	}
}

// visitor answers some requests in the place of a transport.
type visitor struct {
	http.RoundTripper
	answer func(*http.Request) *http.Response
}

func (v *visitor) RoundTrip(r *http.Request) (*http.Response, error) {
	if resp := v.answer(r); resp != nil {
		return resp, nil
	}
	return v.RoundTripper.RoundTrip(r)
}

// A server that wants to be left alone is, by requests too.
func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, "")
		s.status = http.StatusTooManyRequests
		s.header.Set("Retry-After", "120")
		v := verifier(t, s.policy(t))
		for range 11 {
			assert.Equal(t, "keys_unavailable", verify(t, v, ed("a")))
			time.Sleep(10 * time.Second)
		}
		assert.Equal(t, 1, s.requests())
		time.Sleep(time.Minute)
		assert.Greater(t, s.requests(), 1)
	})
}

// Who asks after a fetch has failed is refused until there has been a pause,
// so that it makes no difference whether one came before its end or after.
func TestFailureIsNotFollowedAtOnce(t *testing.T) {
	for _, during := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, "")
			s.status, s.delay = http.StatusInternalServerError, time.Second
			v := verifier(t, s.policy(t))
			if !during {
				time.Sleep(time.Second)
				synctest.Wait()
			}
			begin := time.Now()
			for range 10 {
				_, err := v.Verify(t.Context(), ed("a"))
				refused, _ := err.(*authn.Error)
				require.NotNil(t, refused)
				assert.Equal(t, authn.KeysUnavailable, refused.Kind)
				assert.Equal(t, time.Second, refused.RetryAfter)
			}
			assert.Equal(t, during, time.Since(begin) == time.Second)
			assert.Equal(t, 1, s.requests())
			// When the pause is over the set is fetched, and when pauses have
			// become long those who ask have it fetched before that.
			time.Sleep(time.Second)
			synctest.Wait()
			assert.Equal(t, 2, s.requests())
			s.serve(func(s *server) { s.delay = 0 })
			time.Sleep(time.Hour)
			synctest.Wait()
			next := v.Stats().KeySets[issuerName].Next
			time.Sleep(time.Until(next))
			synctest.Wait()
			had := s.requests()
			for range 60 {
				assert.Equal(t, "keys_unavailable", verify(t, v, ed("a")))
				time.Sleep(time.Second)
			}
			assert.Equal(t, had+5, s.requests(), "after 10, 20, 30, 40 and 50 seconds")
		})
	}
}

func TestObserveDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, jwks(named(edKey(), "a")))
		s.delay = time.Second
		p := s.policy(t)
		p.Mode = outcome.Observe
		v := verifier(t, p)
		begin := time.Now()
		assert.Equal(t, "keys_unavailable", verify(t, v, ed("a")))
		assert.Zero(t, time.Since(begin))
		time.Sleep(2 * time.Second)
		assert.Equal(t, "<nil>", verify(t, v, ed("a")))
		s.serve(func(s *server) { s.set = jwks(named(edKey(), "b")) })
		assert.Equal(t, "unknown_key", verify(t, v, ed("b")), "it has asked, and did not wait")
		time.Sleep(2 * time.Second)
		assert.Equal(t, "<nil>", verify(t, v, ed("b")))
	})
}

func TestSharedKeySets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, jwks(named(edKey(), "a")))
		sets := authn.NewKeySets(nil)
		p := s.policy(t)
		first, err := authn.New(p, authn.Options{KeySets: sets})
		require.NoError(t, err)
		require.Equal(t, "<nil>", verify(t, first, ed("a")))
		// The one that replaces it knows what it knew, without a word.
		s.network.Blackhole("127.0.0.1:8080")
		p.MaxToken = 4096
		second, err := authn.New(p, authn.Options{KeySets: sets})
		require.NoError(t, err)
		require.NoError(t, first.Close())
		require.NoError(t, first.Close())
		assert.Equal(t, "<nil>", verify(t, second, ed("a")))
		assert.Equal(t, 1, s.requests())
		require.Len(t, sets.Stats(), 1)
		assert.Equal(t, jwksURL, sets.Stats()[0].URL)
		s.network.Heal("127.0.0.1:8080")
		require.NoError(t, second.Close())
		assert.Empty(t, sets.Stats())
		// The negative control: one that comes later begins anew.
		third, err := authn.New(p, authn.Options{KeySets: sets})
		require.NoError(t, err)
		require.Equal(t, "<nil>", verify(t, third, ed("a")))
		assert.Equal(t, 2, s.requests())
		require.NoError(t, sets.Close())
		assert.Equal(t, "<nil>", verify(t, third, ed("a")), "it goes on with what it has")
		assert.Equal(t, "keys_unavailable", verify(t, third, ed("b")))
		require.NoError(t, third.Close())
		require.NoError(t, sets.Close())
		_, err = authn.New(p, authn.Options{KeySets: sets})
		assert.ErrorContains(t, err, "closed")
	})
}

// Those who wait when fetching ends are let go.
func TestCloseLetsWaitersGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, "")
		s.network.Blackhole("127.0.0.1:8080")
		v := verifier(t, s.policy(t))
		begin := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { assert.Equal(t, "keys_unavailable", verify(t, v, ed("a"))) })
		synctest.Wait()
		require.NoError(t, v.Close())
		wg.Wait()
		assert.Zero(t, time.Since(begin))
		assert.Equal(t, "keys_unavailable", verify(t, v, ed("a")))
		assert.Zero(t, time.Since(begin))
	})
}
