package grpcbalancer

// ParseReport reads the load report of a trailer.
var ParseReport = parseReport
