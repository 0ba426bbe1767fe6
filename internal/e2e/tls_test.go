package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"time"
)

const caFile = "/ca/ca.crt"

// certificate returns a certificate for the names of the Services, signed by
// itself, and its key, both as PEM.
func certificate() (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "quiz"},
		DNSNames:              []string{"quiz-tls." + namespace, "quiz-pods." + namespace},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}

// certificates are the objects that hold them: for the server a Secret, for the
// clients a ConfigMap.
func certificates() ([]any, error) {
	cert, key, err := certificate()
	if err != nil {
		return nil, err
	}
	return []any{
		map[string]any{
			"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
			"metadata":   map[string]any{"name": "quiz-tls", "namespace": namespace},
			"stringData": map[string]any{"tls.crt": string(cert), "tls.key": string(key)},
		},
		map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap",
			"metadata": map[string]any{"name": "quiz-ca", "namespace": namespace},
			"data":     map[string]any{"ca.crt": string(cert)},
		},
	}, nil
}

// mountCA gives the client of a pod the certificates that it is to trust.
func mountCA(spec map[string]any) {
	spec["volumes"] = []any{map[string]any{"name": "ca", "configMap": map[string]any{"name": "quiz-ca"}}}
	container := spec["containers"].([]any)[0].(map[string]any)
	container["volumeMounts"] = []any{map[string]any{"name": "ca", "mountPath": "/ca", "readOnly": true}}
}
