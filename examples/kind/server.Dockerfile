# Build the binary first: CGO_ENABLED=0 go build -o server ./examples/server
FROM scratch
COPY server /server
USER 65532
ENTRYPOINT ["/server"]
