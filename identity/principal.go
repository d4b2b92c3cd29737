package identity

import "context"

// Kind says by what means a principal was verified.
type Kind uint8

const (
	// Anonymous is the kind of the zero Principal: nobody was verified.
	Anonymous Kind = iota
	// Certificate marks the peer of a mutually authenticated connection.
	Certificate
	// Token marks the subject of a verified bearer token.
	Token
	// APIKey marks the owner of a verified API key.
	APIKey
)

// String returns the kind in lower case, as logs and labels show it.
func (k Kind) String() string {
	switch k {
	case Anonymous:
		return "anonymous"
	case Certificate:
		return "certificate"
	case Token:
		return "token"
	case APIKey:
		return "api-key"
	}
	return "unknown"
}

// Principal is who a verified peer or token is. It is a comparable value; two
// principals are the same exactly when all three fields are equal. The zero
// Principal is nobody.
type Principal struct {
	// Kind says how Name was verified.
	Kind Kind
	// Name is the verified name, such as "spiffe://td/ns/shop/sa/reviews" of a
	// certificate or the subject of a token. It is compared whole, never by prefix.
	Name string
	// Issuer is who vouches for Name: the issuer of the token or of the
	// certificate. It may be empty.
	Issuer string
}

// IsZero reports whether p is nobody.
func (p Principal) IsZero() bool { return p == Principal{} }

// String returns the name, or "anonymous" for the zero Principal.
func (p Principal) String() string {
	if p.IsZero() {
		return Anonymous.String()
	}
	return p.Name
}

type contextKey struct{}

// NewContext returns a copy of ctx that carries p. A zero Principal hides one
// that ctx carried before.
func NewContext(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, contextKey{}, p)
}

// FromContext returns the principal ctx carries and whether there is one.
func FromContext(ctx context.Context) (Principal, bool) {
	p, _ := ctx.Value(contextKey{}).(Principal)
	return p, !p.IsZero()
}
