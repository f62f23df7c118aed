package kit

const bars = "▁▂▃▄▅▆▇█"

// Spark draws the last width values as bars from 0 to the greatest of them. A value below 0 means that nothing is known
// of that time and is left blank.
func Spark(values []float64, width int) string {
	if len(values) > width {
		values = values[len(values)-width:]
	}
	top := 0.0
	for _, v := range values {
		top = max(top, v)
	}
	levels := []rune(bars)
	out := []rune(spaces(width - len(values)))
	for _, v := range values {
		switch {
		case v < 0:
			out = append(out, ' ')
		case v == 0 || top == 0:
			out = append(out, levels[0])
		default:
			out = append(out, levels[1+int(v/top*float64(len(levels)-2)+0.5)])
		}
	}
	return string(out)
}
