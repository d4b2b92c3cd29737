package authn

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Bounds of a key set.
const (
	maxSetBytes = 1 << 20
	maxKeys     = 100
	maxKeyID    = 256
)

// key is a public key for one algorithm.
type key struct {
	// id is its kid, "" if it has none.
	id string
	// algorithm is "" for an RSA key that does not say: it is that of the
	// issuer then.
	algorithm string
	// print is its thumbprint.
	print  string
	public crypto.PublicKey
}

// same tells whether two keys are one and the same, and for the same.
func (k *key) same(o *key) bool {
	return k.id == o.id && k.algorithm == o.algorithm && k.print == o.print
}

// keySet is an immutable set of keys.
type keySet struct {
	keys []*key
	byID map[string]*key
	// leftOut says for each key that is not used which it is and why. flawed
	// counts those that are broken or too weak, not just for something else.
	leftOut []string
	flawed  int
}

var errPrivate = errors.New("it holds a private or a secret key: whoever can read the set can sign as the issuer")

// parseKeySet reads a JWK Set or, what only a static set may be, PEM blocks.
//
// What makes a set doubtful as a whole makes it unusable: members that come
// twice, keys that share an id, private and symmetric keys. A key that is for
// something else, of an unknown kind, broken or too weak is left out.
func parseKeySet(text string) (*keySet, error) {
	if len(text) > maxSetBytes {
		return nil, fmt.Errorf("it is longer than %d bytes", maxSetBytes)
	}
	doc, _, err := decodeObject(text)
	if err != nil {
		return nil, err
	}
	listed, ok := doc["keys"].([]any)
	if !ok {
		return nil, errors.New("it has no array of keys")
	}
	if len(listed) > maxKeys {
		return nil, fmt.Errorf("it has %d keys, %d are the most", len(listed), maxKeys)
	}
	set := &keySet{byID: map[string]*key{}}
	ids := map[string]bool{}
	for i, v := range listed {
		jwk, ok := v.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("keys[%d] is no object", i)
		}
		if err := public(jwk); err != nil {
			return nil, fmt.Errorf("keys[%d]: %w", i, err)
		}
		id, err := text1(jwk, "kid")
		if err != nil || len(id) > maxKeyID {
			return nil, fmt.Errorf("keys[%d].kid is no string of up to %d bytes", i, maxKeyID)
		}
		if id != "" && ids[id] {
			return nil, fmt.Errorf("two keys have the id %.40q", id)
		}
		ids[id] = true
		name := fmt.Sprintf("keys[%d]", i)
		if id != "" {
			name = fmt.Sprintf("key %.40q", id)
		}
		if other := purpose(jwk); other != "" {
			set.leftOut = append(set.leftOut, name+" is "+other)
			continue
		}
		k, err := parseKey(jwk)
		if err == nil {
			err = set.add(k, id)
		}
		if err != nil {
			set.leftOut = append(set.leftOut, name+": "+err.Error())
			set.flawed++
		}
	}
	return set, nil
}

// add takes a key in, of which only algorithm and public are known, if at all.
func (s *keySet) add(k *key, id string) (err error) {
	k.id = id
	if k.print, err = thumbprint(k.public); err != nil {
		return err
	}
	s.keys = append(s.keys, k)
	if id != "" {
		s.byID[id] = k
	}
	return nil
}

// text1 returns a member that is a string, or "" if there is none.
func text1(object map[string]any, name string) (string, error) {
	v, ok := object[name]
	if !ok {
		return "", nil
	}
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("%s is no string", name)
	}
	return s, nil
}

// public refuses keys that no set for the public holds.
func public(jwk map[string]any) error {
	for _, name := range [...]string{"d", "k", "p", "q", "dp", "dq", "qi", "oth"} {
		if _, ok := jwk[name]; ok {
			return errPrivate
		}
	}
	if jwk["kty"] == "oct" {
		return errPrivate
	}
	return nil
}

// purpose says what a key is if it is none to verify signatures with that is
// known here, "" if it is one.
func purpose(jwk map[string]any) string {
	if use, ok := jwk["use"]; ok && use != "sig" {
		return "not for signatures"
	}
	if v, ok := jwk["key_ops"]; ok {
		if ops, ok := v.([]any); !ok || !slices.Contains(ops, any("verify")) {
			return "not for verifying"
		}
	}
	if alg, ok := jwk["alg"]; ok {
		if name, ok := alg.(string); !ok || canonical(name) == "" {
			return "for an unknown algorithm"
		}
	}
	known := false
	switch crv := jwk["crv"]; jwk["kty"] {
	case "RSA":
		known = true
	case "EC":
		known = crv == "P-256" || crv == "P-384" || crv == "P-521"
	case "OKP":
		known = crv == "Ed25519"
	}
	if !known {
		return "of an unknown kind"
	}
	return ""
}

// parseKey makes a key of what a purpose is known for.
func parseKey(jwk map[string]any) (*key, error) {
	kty, _ := jwk["kty"].(string)
	members := map[string]string{"kty": kty}
	numbers := [...]string{"x", "y"}
	switch kty {
	case "RSA":
		numbers = [...]string{"n", "e"}
	case "OKP":
		numbers = [...]string{"x", ""}
		fallthrough
	case "EC":
		members["crv"], _ = jwk["crv"].(string)
	}
	for _, name := range numbers {
		if name == "" {
			continue
		}
		text, _ := jwk[name].(string)
		b, err := decode64(text)
		if err != nil || len(b) == 0 {
			return nil, fmt.Errorf("%s is no number in base64url", name)
		}
		// The number becomes an int, and what does not fit must not be cut off.
		if name == "e" && len(b) > 4 || len(b) > maxRSABits/8+1 {
			return nil, fmt.Errorf("%s is too long", name)
		}
		members[name] = text
	}
	public, err := publicKey(members)
	if err != nil {
		return nil, err
	}
	algorithm, err := algorithmOf(public)
	if err != nil {
		return nil, err
	}
	if name, ok := jwk["alg"].(string); ok {
		said := canonical(name)
		if said != algorithm && (algorithm != "" || !ofRSA(said)) {
			return nil, fmt.Errorf("it says %s and cannot be used for that", said)
		}
		algorithm = said
	}
	return &key{algorithm: algorithm, public: public}, nil
}

// parseStatic reads a static set: a JWK Set, or public keys and certificates
// in PEM. Of certificates only the key counts.
func parseStatic(text string) (*keySet, error) {
	if !strings.HasPrefix(strings.TrimSpace(text), "-----BEGIN") {
		set, err := parseKeySet(text)
		switch {
		case err != nil:
			return nil, err
		case set.flawed > 0:
			return nil, errors.New(strings.Join(set.leftOut, "; "))
		case len(set.keys) == 0:
			return nil, errors.New("it has no key to verify with")
		}
		return set, nil
	}
	set := &keySet{byID: map[string]*key{}}
	rest := []byte(strings.TrimSpace(text))
	for len(rest) > 0 {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, errors.New("something in it is no PEM block")
		}
		public, err := parseBlock(block)
		if err != nil {
			return nil, fmt.Errorf("PEM block %d: %w", len(set.keys)+1, err)
		}
		algorithm, err := algorithmOf(public)
		if err == nil {
			err = set.add(&key{algorithm: algorithm, public: public}, "")
		}
		if err != nil {
			return nil, fmt.Errorf("PEM block %d: %w", len(set.keys), err)
		}
		if len(set.keys) > maxKeys {
			return nil, fmt.Errorf("it has more than %d keys", maxKeys)
		}
		rest = []byte(strings.TrimSpace(string(rest)))
	}
	return set, nil
}

func parseBlock(block *pem.Block) (crypto.PublicKey, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return c.PublicKey, nil
	}
	if strings.Contains(block.Type, "PRIVATE") {
		return nil, errPrivate
	}
	return nil, fmt.Errorf("a %.40q is no public key", block.Type)
}

// adopt puts the keys of old in the place of the same keys of s, which is not
// in use yet, so that what was verified with them stays so.
func (s *keySet) adopt(old *keySet) {
	for i, k := range s.keys {
		for _, o := range old.keys {
			if k.same(o) {
				s.keys[i] = o
				if o.id != "" {
					s.byID[o.id] = o
				}
				break
			}
		}
	}
}

var (
	errNoKey     = errors.New("no key")
	errAmbiguous = errors.New("several keys")
	errOtherUse  = errors.New("a key for another algorithm")
)

// find returns the one key that a token with this algorithm, and id if it has
// one, can have been signed with. rsa is the algorithm of RSA keys that do not
// say. Keys are never tried one after the other.
func (s *keySet) find(id, algorithm, rsa string) (*key, error) {
	fits := func(k *key) bool {
		return k.algorithm == algorithm || k.algorithm == "" && rsa == algorithm
	}
	if k := s.byID[id]; k != nil {
		if !fits(k) {
			return nil, errOtherUse
		}
		return k, nil
	}
	var found *key
	for _, k := range s.keys {
		// A key without an id can be meant by any.
		if fits(k) && (id == "" || k.id == "") {
			if found != nil {
				return nil, errAmbiguous
			}
			found = k
		}
	}
	if found == nil {
		return nil, errNoKey
	}
	return found, nil
}

// decode64 reads base64url as RFC 7515 has it, in its one canonical form: no
// padding, no line breaks, which the standard library skips, no stray bits.
func decode64(text string) ([]byte, error) {
	if i := strings.IndexFunc(text, func(r rune) bool { return !base64URL(r) }); i >= 0 {
		return nil, base64.CorruptInputError(i)
	}
	return base64.RawURLEncoding.Strict().DecodeString(text)
}

func base64URL(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
}
