package tulletest

// bodyRows are the rules about the request's body.
var bodyRows = []row[*clientWorld]{}
