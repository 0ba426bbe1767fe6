package grpcbalancer

// ParseReport reads the load report of a trailer.
var ParseReport = parseReport

// ResultOf says what the end of an attempt means.
var ResultOf = resultOf
