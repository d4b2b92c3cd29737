package authn_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// hostile makes tokens that nobody must accept from ones that are good. Each
// is named with the kind it is to be refused as.
func hostile(t testing.TB) map[string][2]string {
	good := func(more object) string { return string(must(json.Marshal(claims(more)))) }
	ed := func(header, claims string) string { return compact(edKey(), "EdDSA", header, claims) }
	const plain = `{"alg":"EdDSA","kid":"ed"}`
	valid := ed(plain, good(nil))
	parts := strings.Split(valid, ".")
	header, payload, sig := parts[0], parts[1], parts[2]
	sign := func(header, payload string) string {
		return header + "." + payload + "." + b64(signature(edKey(), "EdDSA", header+"."+payload))
	}
	// HMAC with what everybody knows, in all the forms it is passed around in.
	hs := func(secret []byte) string {
		signed := b64([]byte(`{"alg":"HS256","kid":"rsa"}`)) + "." + payload
		m := hmac.New(sha256.New, secret)
		m.Write([]byte(signed))
		return signed + "." + b64(m.Sum(nil))
	}
	der := must(x509.MarshalPKIXPublicKey(rsaKey().Public()))
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	embedded := string(must(json.Marshal(jwk(edOther(), object{"kid": "ed"}))))
	foreign := func(header string) string { return compact(edOther(), "EdDSA", header, good(nil)) }
	es := func(sig []byte) string {
		return b64([]byte(`{"alg":"ES256","kid":"ec"}`)) + "." + payload + "." + b64(sig)
	}
	ecSigned := b64([]byte(`{"alg":"ES256","kid":"ec"}`)) + "." + payload
	ecSig := signature(ecKey(), "ES256", ecSigned)
	order := ecKey().Public().(*ecdsa.PublicKey).Params().N
	digest := sha256.Sum256([]byte(ecSigned))
	asn1 := must(ecKey().Sign(nil, digest[:], crypto.SHA256))
	rsaSigned := b64([]byte(`{"alg":"RS256","kid":"rsa"}`)) + "." + payload
	rsaSig := signature(rsaKey(), "RS256", rsaSigned)
	moreThanN := new(big.Int).Add(new(big.Int).SetBytes(rsaSig), rsaKey().Public().(*rsa.PublicKey).N)
	later := ed(plain, good(object{"sub": "mallory"}))
	nested := strings.Repeat("[", 5000) + strings.Repeat("]", 5000)

	tokens := map[string][2]string{
		"nothing":                {"", "malformed"},
		"dots":                   {"..", "malformed"},
		"one part":               {payload, "malformed"},
		"two parts":              {header + "." + payload, "malformed"},
		"four parts":             {valid + ".", "malformed"},
		"JWE":                    {header + "." + payload + "." + sig + "." + sig + "." + sig, "malformed"},
		"million dots":           {strings.Repeat(".", 8000), "malformed"},
		"too long":               {valid + strings.Repeat("A", 9000), "malformed"},
		"no signature":           {header + "." + payload + ".", "bad_signature"},
		"no header":              {"." + payload + "." + sig, "malformed"},
		"no claims":              {header + ".." + sig, "malformed"},
		"JSON form":              {`{"protected":"` + header + `","payload":"` + payload + `","signature":"` + sig + `"}`, "malformed"},
		"JSON form encoded":      {b64([]byte(`{"payload":"`+payload+`"}`)) + "." + payload + "." + sig, "malformed"},
		"none":                   {b64([]byte(`{"alg":"none"}`)) + "." + payload + ".", "wrong_algorithm"},
		"none, signed":           {ed(`{"alg":"none","kid":"ed"}`, good(nil)), "wrong_algorithm"},
		"None":                   {b64([]byte(`{"alg":"None","kid":"ed"}`)) + "." + payload + ".", "wrong_algorithm"},
		"nOnE":                   {b64([]byte(`{"alg":"nOnE","kid":"ed"}`)) + "." + payload + ".", "wrong_algorithm"},
		"alg in small letters":   {ed(`{"alg":"eddsa","kid":"ed"}`, good(nil)), "wrong_algorithm"},
		"alg with a space":       {ed(`{"alg":"EdDSA ","kid":"ed"}`, good(nil)), "wrong_algorithm"},
		"alg look-alike":         {ed(`{"alg":"Ed\u0405DSA","kid":"ed"}`, good(nil)), "wrong_algorithm"},
		"alg empty":              {ed(`{"alg":"","kid":"ed"}`, good(nil)), "wrong_algorithm"},
		"alg missing":            {ed(`{"kid":"ed"}`, good(nil)), "malformed"},
		"alg null":               {ed(`{"alg":null,"kid":"ed"}`, good(nil)), "malformed"},
		"algs":                   {ed(`{"alg":["EdDSA"],"kid":"ed"}`, good(nil)), "malformed"},
		"two algs":               {ed(`{"alg":"EdDSA","alg":"EdDSA","kid":"ed"}`, good(nil)), "malformed"},
		"two algs, one escaped":  {ed(`{"alg":"EdDSA","\u0061lg":"none","kid":"ed"}`, good(nil)), "malformed"},
		"HMAC with PEM":          {hs(publicPEM), "wrong_algorithm"},
		"HMAC with PEM, trimmed": {hs([]byte(strings.TrimSpace(string(publicPEM)))), "wrong_algorithm"},
		"HMAC with DER":          {hs(der), "wrong_algorithm"},
		"HMAC with the modulus":  {hs(rsaKey().Public().(*rsa.PublicKey).N.Bytes()), "wrong_algorithm"},
		"RS256 for an EC key":    {compact(rsaKey(), "RS256", `{"alg":"RS256","kid":"ec"}`, good(nil)), "wrong_algorithm"},
		"ES256 for an RSA key":   {compact(ecKey(), "ES256", `{"alg":"ES256","kid":"rsa"}`, good(nil)), "wrong_algorithm"},
		"RS384 for RS256":        {compact(rsaKey(), "RS384", `{"alg":"RS384","kid":"rsa"}`, good(nil)), "wrong_algorithm"},
		"PS256 for RS256":        {compact(rsaKey(), "PS256", `{"alg":"PS256","kid":"rsa"}`, good(nil)), "wrong_algorithm"},
		"PS256 as RS256":         {compact(rsaKey(), "PS256", `{"alg":"RS256","kid":"rsa"}`, good(nil)), "bad_signature"},
		"embedded jwk":           {foreign(`{"alg":"EdDSA","kid":"ed","jwk":` + embedded + `}`), "bad_signature"},
		"jku":                    {foreign(`{"alg":"EdDSA","kid":"ed","jku":"https://evil.example/jwks"}`), "bad_signature"},
		"x5u":                    {foreign(`{"alg":"EdDSA","kid":"ed","x5u":"https://evil.example/cert"}`), "bad_signature"},
		"x5c":                    {foreign(`{"alg":"EdDSA","kid":"ed","x5c":["AAAA"]}`), "bad_signature"},
		"jwk and no kid":         {foreign(`{"alg":"EdDSA","jwk":` + embedded + `}`), "bad_signature"},
		"kid a path":             {foreign(`{"alg":"EdDSA","kid":"../../../../dev/null"}`), "unknown_key"},
		"kid a URL":              {foreign(`{"alg":"EdDSA","kid":"https://evil.example/key"}`), "unknown_key"},
		"kid a command":          {foreign(`{"alg":"EdDSA","kid":"ed; cat /etc/passwd"}`), "unknown_key"},
		"kid with NUL":           {foreign(`{"alg":"EdDSA","kid":"ed\u0000"}`), "unknown_key"},
		"kid a number":           {ed(`{"alg":"EdDSA","kid":1}`, good(nil)), "malformed"},
		"kid null":               {ed(`{"alg":"EdDSA","kid":null}`, good(nil)), "malformed"},
		"kid empty":              {ed(`{"alg":"EdDSA","kid":""}`, good(nil)), "malformed"},
		"two kids":               {ed(`{"alg":"EdDSA","kid":"ec","kid":"ed"}`, good(nil)), "malformed"},
		"crit":                   {ed(`{"alg":"EdDSA","kid":"ed","crit":["x"],"x":1}`, good(nil)), "malformed"},
		"crit empty":             {ed(`{"alg":"EdDSA","kid":"ed","crit":[]}`, good(nil)), "malformed"},
		"crit exp":               {ed(`{"alg":"EdDSA","kid":"ed","crit":["exp"],"exp":1}`, good(nil)), "malformed"},
		"b64":                    {ed(`{"alg":"EdDSA","kid":"ed","b64":false}`, good(nil)), "malformed"},
		"b64 true":               {ed(`{"alg":"EdDSA","kid":"ed","b64":true}`, good(nil)), "malformed"},
		"zip":                    {ed(`{"alg":"EdDSA","kid":"ed","zip":"DEF"}`, good(nil)), "malformed"},
		"enc":                    {ed(`{"alg":"EdDSA","kid":"ed","enc":"A128GCM"}`, good(nil)), "malformed"},
		"header an array":        {ed(`["EdDSA"]`, good(nil)), "malformed"},
		"header followed":        {ed(plain+`{}`, good(nil)), "malformed"},
		"claims followed":        {ed(plain, good(nil)+` null`), "malformed"},
		"claims an array":        {ed(plain, `[`+good(nil)+`]`), "malformed"},
		"claims text":            {ed(plain, `hello`), "malformed"},
		"claims not UTF-8":       {ed(plain, "{\"iss\":\"\xff\"}"), "malformed"},
		"claims twice":           {ed(plain, strings.TrimSuffix(good(nil), "}")+`,"sub":"mallory"}`), "malformed"},
		"aud twice":              {ed(plain, strings.TrimSuffix(good(nil), "}")+`,"aud":"reviews"}`), "malformed"},
		"nested twice":           {ed(plain, strings.TrimSuffix(good(nil), "}")+`,"x":{"a":1,"a":2}}`), "malformed"},
		"nested deeply":          {ed(plain, `{"x":`+nested[:3000]+`}`), "malformed"},
		"claims of another":      {header + "." + strings.Split(later, ".")[1] + "." + sig, "bad_signature"},
		"header of another":      {b64([]byte(`{"alg":"EdDSA"}`)) + "." + payload + "." + sig, "bad_signature"},
		"signature of a part":    {header + "." + payload + "." + b64(signature(edKey(), "EdDSA", payload)), "bad_signature"},
		"signature of no dot":    {header + "." + payload + "." + b64(signature(edKey(), "EdDSA", header+payload)), "bad_signature"},
		"Ed25519 cut":            {header + "." + payload + "." + b64(must(base64.RawURLEncoding.DecodeString(sig))[:63]), "bad_signature"},
		"Ed25519 and a byte":     {header + "." + payload + "." + b64(append(must(base64.RawURLEncoding.DecodeString(sig)), 0)), "bad_signature"},
		"ES256 empty":            {es(nil), "bad_signature"},
		"ES256 zeros":            {es(make([]byte, 64)), "bad_signature"},
		"ES256 r zero":           {es(append(make([]byte, 32), ecSig[32:]...)), "bad_signature"},
		"ES256 s zero":           {es(append(append([]byte{}, ecSig[:32]...), make([]byte, 32)...)), "bad_signature"},
		"ES256 the order":        {es(append(order.Bytes(), order.Bytes()...)), "bad_signature"},
		"ES256 in ASN.1":         {es(asn1), "bad_signature"},
		"ES256 63 bytes":         {es(ecSig[:63]), "bad_signature"},
		"ES256 65 bytes":         {es(append(append([]byte{}, ecSig...), 0)), "bad_signature"},
		"ES256 of P-384 length":  {es(append(make([]byte, 32), ecSig...)), "bad_signature"},
		"RS256 with a zero":      {rsaSigned + "." + b64(append([]byte{0}, rsaSig...)), "bad_signature"},
		"RS256 plus the modulus": {rsaSigned + "." + b64(moreThanN.Bytes()), "bad_signature"},
		"RS256 cut":              {rsaSigned + "." + b64(rsaSig[1:]), "bad_signature"},
	}
	// What base64 can be varied by.
	for name, f := range map[string]func(string) string{
		"padding":          func(s string) string { return s + "=" },
		"two paddings":     func(s string) string { return s + "==" },
		"line break":       func(s string) string { return s[:4] + "\n" + s[4:] },
		"carriage return":  func(s string) string { return s + "\r" },
		"CR LF":            func(s string) string { return "\r\n" + s },
		"space":            func(s string) string { return s + " " },
		"tab":              func(s string) string { return "\t" + s },
		"NUL":              func(s string) string { return s + "\x00" },
		"plus":             func(s string) string { return "+" + s[1:] },
		"slash":            func(s string) string { return "/" + s[1:] },
		"percent encoding": func(s string) string { return "%65" + s[1:] },
		"full width":       func(s string) string { return "\uff45" + s[1:] },
		// No number of bytes has an encoding of 4n+1 letters.
		"impossible length": func(s string) string { return s + "AAAA"[:(5-len(s)%4)%4] },
	} {
		tokens["header: "+name] = [2]string{sign(f(header), payload), "malformed"}
		tokens["claims: "+name] = [2]string{sign(header, f(payload)), "malformed"}
		tokens["signature: "+name] = [2]string{header + "." + payload + "." + f(sig), "malformed"}
	}
	// The bits that a last letter has too many: the same bytes, another text.
	last := strings.IndexByte(alphabet, sig[len(sig)-1])
	tokens["signature: stray bits"] = [2]string{valid[:len(valid)-1] + alphabet[last^1:last^1+1], "malformed"}
	return tokens
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

func TestHostileTokens(t *testing.T) {
	p := static(jwk(edKey(), object{"kid": "ed"}), jwk(ecKey(), object{"kid": "ec"}), jwk(rsaKey(), object{"kid": "rsa"}))
	v := verifier(t, p)
	// What they are made from is good: each is refused for what was done to it.
	for alg, s := range map[string]struct {
		key crypto.Signer
		kid string
	}{"EdDSA": {edKey(), "ed"}, "ES256": {ecKey(), "ec"}, "RS256": {rsaKey(), "rsa"}} {
		_, err := v.Verify(t.Context(), token(s.key, alg, s.kid, nil))
		require.NoError(t, err)
	}
	before := v.Stats()
	tokens := hostile(t)
	for range 2 { // the second time all that is remembered is of the first
		for name, c := range tokens {
			got, err := v.Verify(t.Context(), c[0])
			assert.Equal(t, c[1], kindOf(err), "%s: %v", name, err)
			assert.True(t, got.IsZero(), name)
			// What is told of it neither quotes it nor breaks a line.
			assert.NotContains(t, err.Error(), "\n")
			if len(c[0]) > 50 {
				assert.NotContains(t, err.Error(), c[0][:50], name)
			}
			assert.Less(t, len(err.Error()), 500, name)
		}
	}
	after := v.Stats()
	assert.Equal(t, before.Entries, after.Entries, "what is refused is not remembered")
	assert.Equal(t, before.Bytes, after.Bytes)
}
