package fixes

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// wireStep is a step as the journal has it: the kind beside the fields, so that a reader can tell what it does not know.
type wireStep struct {
	Kind string          `json:"kind"`
	Step json.RawMessage `json:"step"`
}

// EncodeStep returns a step as JSON: {"kind":"sysctl","step":{…}}.
func EncodeStep(st Step) ([]byte, error) {
	body, err := json.Marshal(st)
	if err != nil {
		return nil, fmt.Errorf("encode step %s: %w", st.Kind(), err)
	}
	return json.Marshal(wireStep{st.Kind(), body})
}

// DecodeStep is the inverse of EncodeStep. It is strict: an unknown kind, an unknown field or a value that could not be
// a step of ours is an error, because what it returns will be done to a host as root.
func DecodeStep(b []byte) (Step, error) {
	var w wireStep
	if err := decodeStrict(b, &w); err != nil {
		return nil, fmt.Errorf("decode step: %w", err)
	}
	var st Step
	var err error
	switch w.Kind {
	case kindSysctl:
		st, err = decodeAs[SetSysctl](w.Step)
	case kindAddAddress:
		st, err = decodeAs[AddAddress](w.Step)
	case kindDelAddress:
		st, err = decodeAs[DelAddress](w.Step)
	case kindAddService:
		st, err = decodeAs[AddService](w.Step)
	case kindEditService:
		st, err = decodeAs[EditService](w.Step)
	case kindDelService:
		st, err = decodeAs[DelService](w.Step)
	case kindAddDestination:
		st, err = decodeAs[AddDestination](w.Step)
	case kindEditDestination:
		st, err = decodeAs[EditDestination](w.Step)
	case kindDelDestination:
		st, err = decodeAs[DelDestination](w.Step)
	case kindAddRoute:
		st, err = decodeAs[AddRoute](w.Step)
	case kindReplaceRoute:
		st, err = decodeAs[ReplaceRoute](w.Step)
	case kindDelRoute:
		st, err = decodeAs[DelRoute](w.Step)
	case kindAddRule:
		st, err = decodeAs[AddRule](w.Step)
	case kindDelRule:
		st, err = decodeAs[DelRule](w.Step)
	case kindTimeouts:
		st, err = decodeAs[SetTimeouts](w.Step)
	case kindAddNeighbour:
		st, err = decodeAs[AddNeighbour](w.Step)
	case kindDelNeighbour:
		st, err = decodeAs[DelNeighbour](w.Step)
	case kindLoadModule:
		st, err = decodeAs[LoadModule](w.Step)
	case kindUnloadModule:
		st, err = decodeAs[UnloadModule](w.Step)
	case kindAnnounce:
		st, err = decodeAs[Announce](w.Step)
	case kindAddAccept:
		st, err = decodeAs[AddAccept](w.Step)
	case kindDelAccept:
		st, err = decodeAs[DelAccept](w.Step)
	default:
		return nil, fmt.Errorf("decode step: unknown kind %q: was it written by a newer lvstui?", w.Kind)
	}
	if err != nil {
		return nil, fmt.Errorf("decode step of kind %s: %w", w.Kind, err)
	}
	return st, nil
}

// Validator is what every step can do besides Step: refuse fields that no operator could have meant.
type Validator interface{ Validate() error }

func decodeAs[T interface {
	Step
	Validator
}](b []byte) (Step, error) {
	var st T
	if err := decodeStrict(b, &st); err != nil {
		return nil, err
	}
	if err := st.Validate(); err != nil {
		return nil, err
	}
	return st, nil
}

func decodeStrict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("more than one JSON value")
	}
	return nil
}
