package iampolicy

import "strings"

// Trusts tells whether a role's trust policy lets a principal of the same account
// assume it, with what the principal's own policies have to say to it. A trust
// policy that names the principal is enough unless they deny it; one that names
// the account leaves it to them (IAM user guide, "AWS JSON policy elements:
// Principal"; STS API, "AssumeRole"). A group assumes nothing; of a role without
// trust policy it is not known whom it trusts.
func (a *Account) Trusts(role, by *Principal) Answer {
	if role.Type != Role || by.Type == Group {
		return No
	}
	if role.Trust == nil {
		return Conditional
	}
	var asNamed, asAccount, denied Answer
	f := facts{principal: by}
	f.of(role.Trust)
	for i := range role.Trust.Statements {
		s := &role.Trust.Statements[i]
		named, account := s.lets(by)
		if named == No && account == No || s.doing(assumeRole) == No {
			continue
		}
		holds := min(s.doing(assumeRole), f.conditions(s))
		if s.Effect == Deny {
			denied = max(denied, min(holds, max(named, account)))
			continue
		}
		asNamed, asAccount = max(asNamed, min(holds, named)), max(asAccount, min(holds, account))
	}
	if asNamed > No {
		asNamed = min(asNamed, by.mayIfNamed(role.ARN))
	}
	if asAccount > asNamed {
		asAccount = min(asAccount, by.May(assumeRole, role.ARN, nil))
	}
	return min(max(asNamed, asAccount), Yes-denied)
}

// mayIfNamed tells whether the principal may assume a role that names it. Its
// boundary need not allow that to a user, but to a role (IAM user guide,
// "Permissions boundaries for IAM entities": resource-based policies).
func (p *Principal) mayIfNamed(role string) Answer {
	q := *p
	q.Policies = append([]Policy{{Document: &Document{
		Statements: []Statement{{Effect: Allow, Actions: []string{assumeRole}, Resources: []string{"*"}}},
	}}}, p.Policies...)
	if p.Boundary != nil && p.Type == User {
		q.Policies = append(q.Policies, *p.Boundary) // for what it denies
		q.Boundary = nil
	}
	return q.May(assumeRole, role, nil)
}

// lets tells whether a statement of a trust policy is about a principal: by its
// name, or as one of its account.
func (s *Statement) lets(p *Principal) (named, account Answer) {
	for _, who := range s.Principals {
		n, a := who.is(p)
		named, account = max(named, n), max(account, a)
	}
	for i, who := range s.NotPrincipals {
		if n, _ := who.is(p); i == 0 {
			named = Yes - n
		} else {
			named = min(named, Yes-n)
		}
	}
	return named, account
}

// is tells whether what a statement names is a principal: by its name, or its
// account. AWS writes the unique ID of one that was deleted; a session of a role
// has the name that its caller gives it.
func (who StatementPrincipal) is(p *Principal) (named, account Answer) {
	if who.Kind != "AWS" && who.Kind != "*" {
		return No, No
	}
	if who.Value == "*" || who.Value == p.ARN && p.ARN != "" || who.Value == p.ID && p.ID != "" {
		return Yes, No
	}
	if strings.Contains(who.Value, ":user/") || strings.Contains(who.Value, ":role/") {
		return No, No
	}
	id, partition := accountOf(p.ARN), partitionOf(p.ARN)
	switch {
	case id != "" && (who.Value == id || who.Value == "arn:"+partition+":iam::"+id+":root"):
		return No, Yes
	case p.Type == Role && strings.HasPrefix(who.Value, "arn:"+partition+":sts::"+id+":assumed-role/"+p.Name()+"/"):
		return Conditional, No
	}
	return No, No
}

// trustees are the ARNs of the users and roles that a role's trust policy names,
// and whether it names an account, or may be about others as well.
func (p *Principal) trustees() (names []string, account, others bool) {
	if p.Trust == nil {
		return nil, false, true
	}
	for i := range p.Trust.Statements {
		s := &p.Trust.Statements[i]
		others = others || s.Effect == Allow && len(s.NotPrincipals) > 0
		for _, who := range s.Principals {
			switch {
			case s.Effect == Deny || who.Kind != "AWS" && who.Kind != "*":
			case strings.Contains(who.Value, ":user/") || strings.Contains(who.Value, ":role/"):
				names = append(names, who.Value)
			case strings.HasSuffix(who.Value, ":root") || len(who.Value) == len(unnamedAccount):
				account = true
			default:
				others = true
			}
		}
	}
	return names, account, others
}

// TrustsService tells whether a role's trust policy lets a service assume it:
// "lambda.amazonaws.com"; or give it out, as "cognito-identity.amazonaws.com" does
// to the users that it knows. A role without trust policy may trust any.
func (p *Principal) TrustsService(service string) Answer {
	if p.Type != Role {
		return No
	}
	if p.Trust == nil {
		return Conditional
	}
	f := facts{known: Context{"aws:sourceaccount": {accountOf(p.ARN)}}}
	f.of(p.Trust)
	allowed, denied := No, No
	for i := range p.Trust.Statements {
		s := &p.Trust.Statements[i]
		answer := s.letsService(service)
		if answer == No {
			continue
		}
		answer = min(answer, f.conditions(s))
		if s.Effect == Deny {
			denied = max(denied, answer)
		} else {
			allowed = max(allowed, answer)
		}
	}
	return min(allowed, Yes-denied)
}

// letsService tells whether a statement of a trust policy is about a service,
// leaving its conditions aside. In China, names of services may end in
// amazonaws.com.cn.
func (s *Statement) letsService(service string) Answer {
	best := No
	for _, who := range s.Principals {
		switch {
		case who.Kind == "*", who.Kind == "Service" && (who.Value == service || who.Value == service+".cn"):
			best = max(best, s.doing(assumeRole))
		case who.Kind == "Federated" && who.Value == service:
			best = max(best, s.doing("sts:AssumeRoleWithWebIdentity"))
		}
	}
	if len(s.NotPrincipals) > 0 {
		best = min(Conditional, s.doing(assumeRole))
	}
	return best
}
