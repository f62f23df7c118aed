package fixes

import "testing"

func TestParse(t *testing.T) {
	for text, want := range map[string]string{"172.16.0.8": "172.16.0.8/32", " 172.16.0.8/24 ": "172.16.0.8/24", "2001:db8::8": "2001:db8::8/128",
		"": "", "172.16.0": "", "::ffff:1.2.3.4": "", "1.2.3.4/33": "", "web": ""} {
		got, err := ParseVIP(text)
		if (err != nil) != (want == "") || err == nil && got.String() != want {
			t.Errorf("ParseVIP(%q) = %v, %v; want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{"tcp/80": "tcp/80", " udp/53": "udp/53", "80": "", "tcp/0": "", "tcp/65536": "", "icmp/1": "", "tcp/80:8080": "", "": ""} {
		got, err := ParsePort(text)
		if (err != nil) != (want == "") || err == nil && got.String() != want {
			t.Errorf("ParsePort(%q) = %v, %v; want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{"192.168.10.11": "192.168.10.11", "192.168.10.11=2": "192.168.10.11=2", "fe80::1%eth0": "fe80::1",
		"::ffff:1.2.3.4=0": "1.2.3.4=0", "rs1": "", "1.2.3.4=": "", "1.2.3.4:8080": "", "[2001:db8::1]:80=2": "", "": ""} {
		got, err := ParseRealServer(text)
		if (err != nil) != (want == "") || err == nil && got.String() != want {
			t.Errorf("ParseRealServer(%q) = %v, %v; want %q", text, got, err, want)
		}
	}
}
