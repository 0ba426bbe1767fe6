package balancer

import (
	"encoding/json"
	"time"

	"github.com/sidestep-lb/sidestep/internal/jsonconfig"
)

// configFields is a Config without its methods.
type configFields Config

// A writtenConfig is a Config as JSON has it.
type writtenConfig struct {
	configFields
	SlowStart jsonconfig.Duration `json:"slowStart,omitempty"` // in place of that of configFields
}

// MarshalJSON implements json.Marshaler. Durations are written like "1.5s".
func (c Config) MarshalJSON() ([]byte, error) {
	return json.Marshal(writtenConfig{configFields(c), jsonconfig.Duration(c.SlowStart)})
}

// UnmarshalJSON implements json.Unmarshaler. Unknown fields are ignored, and fields
// that the text does not have stay as they are. An error names the field.
func (c *Config) UnmarshalJSON(text []byte) error {
	written := writtenConfig{configFields(*c), jsonconfig.Duration(c.SlowStart)}
	if err := jsonconfig.Read(text, &written); err != nil {
		return err
	}
	*c = Config(written.configFields)
	c.SlowStart = time.Duration(written.SlowStart)
	return nil
}
