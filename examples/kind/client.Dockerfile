# Build the binary first: CGO_ENABLED=0 go build -o client ./examples/client
FROM scratch
COPY client /client
USER 65532
ENTRYPOINT ["/client"]
