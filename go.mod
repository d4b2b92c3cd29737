module github.com/tulle-mesh/tulle

go 1.26
