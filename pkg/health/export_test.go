package health

// Fitting is fitting, for tests.
var Fitting = fitting

// Missed is what miss makes of sites and of the places that canaries came from,
// by domain, each as account and Region.
func Missed(sites []Site, domains []string, came map[string][][2]string) ([]Site, int) {
	a := arrivals{}
	for domain, places := range came {
		a[domain] = map[place]bool{}
		for _, p := range places {
			a[domain][place{p[0], p[1]}] = true
		}
	}
	v := visit{}
	for i := range sites {
		v.sites = append(v.sites, &sites[i])
	}
	late := miss(v.sites, domains, a)
	return v.answer(), late
}
