package health

import (
	"context"
	"encoding/json"
	"log/slog"

	"github.com/snapback-aws/snapback/pkg/engine"
	"github.com/snapback-aws/snapback/pkg/function"
)

// report writes a line for each site that is wrong, and one for the command.
func (h *Health) report(command string, a Answer) {
	log := h.log.With("command", command)
	for _, s := range a.Sites {
		if s.Wrong() {
			log.Warn("site", "account", s.Account, "region", s.Region,
				"missing", s.Missing, "faults", s.Faults, "undelivered", s.Undelivered)
		}
	}
	level := slog.LevelInfo
	if a.Verdict != engine.Done {
		level = slog.LevelWarn
	}
	log.Log(context.Background(), level, "command", "verdict", string(a.Verdict), "reason", a.Reason,
		"sites", len(a.Sites), "milliseconds", a.Milliseconds)
}

// measure writes what CloudWatch Logs reads as metrics of a drill (embedded
// metric format): at how many sites a canary was sent, from how many it did not
// come back to every domain, those included where none could be sent, how many
// events wait undelivered in all, and how many kill switches are on.
func (h *Health) measure(a Answer, sent, missing int) {
	undelivered := 0
	for _, s := range a.Sites {
		undelivered += s.Undelivered
	}
	h.log.LogAttrs(context.Background(), slog.LevelInfo, "drill", slog.String("drill", a.Drill),
		slog.Int("DrillsSent", sent), slog.Int("DrillsMissing", missing), slog.Int("Undelivered", undelivered), slog.Int("Stops", a.Stops),
		function.Counts("DrillsSent", "DrillsMissing", "Undelivered", "Stops"))
}

// measureLook writes at how many sites a look found something wrong, in the same
// way.
func (h *Health) measureLook(wrong int) {
	h.log.LogAttrs(context.Background(), slog.LevelInfo, "look", slog.Int("SitesWrong", wrong), function.Counts("SitesWrong"))
}

// maxAnswer is how long an answer may be: Lambda gives back 6 MB. Source: Lambda
// API reference, Invoke.
const maxAnswer = 5 << 20

// fitting cuts the faults of an answer that is too long, which is one about many
// thousand sites that are nearly all wrong. The log has them whole.
func fitting(a Answer) Answer {
	for most := 160; ; most /= 2 {
		text, err := json.Marshal(a)
		if err != nil {
			panic(err) // texts and numbers always marshal
		}
		if len(text) <= maxAnswer || most == 0 {
			return a
		}
		for i := range a.Sites {
			for j, fault := range a.Sites[i].Faults {
				if runes := []rune(fault); len(runes) > most {
					a.Sites[i].Faults[j] = string(runes[:most]) + "…"
				}
			}
		}
	}
}
