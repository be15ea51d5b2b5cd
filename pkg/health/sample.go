package health

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/guardduty"

	"github.com/snapback-aws/snapback/pkg/cloud"
	"github.com/snapback-aws/snapback/pkg/engine"
)

// sampleType is the type of a sample where none is asked for: one that the
// quarantine of instances answers.
const sampleType = "CryptoCurrency:EC2/BitcoinTool.B!DNS"

// sample has GuardDuty make sample findings. They name no resource that exists,
// and say of themselves that they are samples.
func (h *Health) sample(ctx context.Context, r Request) (Answer, error) {
	if len(r.Accounts) != 1 || len(r.Regions) != 1 {
		return Answer{Verdict: engine.Misuse, Reason: "a sample is made in one account and Region: name both"}, nil
	}
	a := Answer{Verdict: engine.NotSo}
	v, err := h.visit(ctx, r, Sample)
	if err != nil {
		return a, err
	}
	if len(r.Types) == 0 {
		r.Types = []string{sampleType}
	}
	for _, s := range v.entered() {
		if err := s.makeSamples(ctx, v.sessions[s.Account], r.Types); err != nil {
			s.fault(err)
		}
	}
	a.Sites = v.answer()
	if s := a.Sites[0]; s.Wrong() {
		a.Reason = strings.Join(s.Faults, "; ")
		return a, nil
	}
	a.Verdict, a.Reason = engine.Done, fmt.Sprintf("GuardDuty makes sample findings of %s: they come within minutes", strings.Join(r.Types, ", "))
	return a, nil
}

func (s *Site) makeSamples(ctx context.Context, session *cloud.Session, types []string) error {
	client := cloud.Client(session, func(cfg aws.Config) *guardduty.Client { return guardduty.NewFromConfig(cfg) })
	here := func(o *guardduty.Options) { o.Region = s.Region }
	// There is at most one. Source: GuardDuty API reference, CreateDetector.
	detectors, err := client.ListDetectors(ctx, &guardduty.ListDetectorsInput{}, here)
	if err != nil {
		return fmt.Errorf("look for GuardDuty's detector: %w", err)
	}
	if len(detectors.DetectorIds) == 0 {
		return fmt.Errorf("GuardDuty has no detector in account %s and Region %s: enable GuardDuty there", s.Account, s.Region)
	}
	_, err = client.CreateSampleFindings(ctx, &guardduty.CreateSampleFindingsInput{
		DetectorId: aws.String(detectors.DetectorIds[0]), FindingTypes: types,
	}, here)
	if err != nil {
		return fmt.Errorf("make sample findings of %s: %w", strings.Join(types, ", "), err)
	}
	return nil
}
