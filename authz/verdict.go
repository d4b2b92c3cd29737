package authz

// verdict is the answer of a condition, in this order: of conditions that must
// all hold the least counts, of alternatives the greatest.
type verdict uint8

const (
	no verdict = iota
	doubt
	yes
)

// not is the verdict of the opposite condition. What is in doubt stays so.
func (v verdict) not() verdict { return yes - v }

// surely turns what is known for certain into a verdict.
func surely(holds bool) verdict {
	if holds {
		return yes
	}
	return no
}
