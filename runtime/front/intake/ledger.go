// Package intake bounds what peers can make the front hold: the bytes of calls that are not admitted yet, for how long
// they may arrive, and for how long a reply may wait to be read.
package intake

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"accelform/front/security"
)

// A request that holds no more than small may use the whole budget, a longer one three quarters of it: long messages
// that are being sent leave room for the many short ones.
const small = 64 << 10

// The last reserve-th of the budget is for addresses that hold no more than a light-th of it: no few addresses can fill
// what all the others need.
const (
	reserve = 8
	light   = 16
)

// Ledger is a budget of bytes for all requests that have come, or are coming, and are not admitted yet.
type Ledger struct {
	limit    int64
	held     atomic.Int64
	mutex    sync.Mutex
	accounts map[netip.Prefix]*Account
	swept    time.Time
}

// NewLedger makes a budget of that many bytes.
func NewLedger(limit int64) *Ledger {
	return &Ledger{limit: limit, accounts: map[netip.Prefix]*Account{}}
}

// Held is how many bytes are held.
func (l *Ledger) Held() int64 { return l.held.Load() }

// Account is what one address, or one network of IPv6, holds; it has a share of the budget as it has of connections.
type Account struct {
	ledger *Ledger
	from   netip.Prefix
	limit  int64
	held   atomic.Int64
	purse  purse
	users  int // of the ledger's mutex
}

// Join finds the account of an address; Leave has to follow.
func (l *Ledger) Join(from net.Addr) *Account {
	place := security.Neighbourhood(from)
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.sweep(time.Now())
	account := l.accounts[place]
	if account == nil {
		account = &Account{ledger: l, from: place, limit: security.Part(place, l.limit)}
		l.accounts[place] = account
	}
	account.users++
	return account
}

// Leave ends what Join began. The account stays until its purse is full again: who comes back finds no new one.
func (a *Account) Leave() {
	a.ledger.mutex.Lock()
	defer a.ledger.mutex.Unlock()
	a.users--
	a.ledger.drop(a, time.Now())
}

// sweep forgets addresses that left; the mutex is held.
func (l *Ledger) sweep(now time.Time) {
	if now.Sub(l.swept) < time.Second {
		return
	}
	l.swept = now
	for _, account := range l.accounts {
		l.drop(account, now)
	}
}

func (l *Ledger) drop(account *Account, now time.Time) {
	if account.users == 0 && account.purse.full(now) {
		delete(l.accounts, account.from)
	}
}

// Useless counts a request over HTTP that was work for nothing, and returns how long its answer has to wait.
func (a *Account) Useless(bytes int) time.Duration {
	return a.purse.spend(requestUnits+int64(min(bytes/bytesOfUselessUnit, mostUselessUnits)), time.Now())
}

// take is false where the bytes are more than there may be, in all or of this address.
func (a *Account) take(more, having int64) bool {
	all, own := a.ledger.limit, a.limit
	if a.held.Load()+more > all/light {
		all -= all / reserve
	}
	if having+more > small {
		all, own = all-all/4, own-own/4
	}
	if a.held.Add(more) > own {
		a.held.Add(-more)
		return false
	}
	if a.ledger.held.Add(more) > all {
		a.ledger.held.Add(-more)
		a.held.Add(-more)
		return false
	}
	return true
}

// room is whether so many bytes could be taken now.
func (a *Account) room(more, having int64) bool {
	if !a.take(more, having) {
		return false
	}
	a.give(more)
	return true
}

func (a *Account) give(back int64) {
	a.held.Add(-back)
	a.ledger.held.Add(-back)
}

// Share is one request's part of an account. It is not safe for concurrent use.
type Share struct {
	account *Account
	size    int64
}

// Share makes an empty one.
func (a *Account) Share() Share { return Share{account: a} }

// Take is false, and takes nothing, where so many bytes more are too many.
func (s *Share) Take(more int) bool {
	if !s.account.take(int64(more), s.size) {
		return false
	}
	s.size += int64(more)
	return true
}

// Free gives all of it back.
func (s *Share) Free() {
	if s.size != 0 {
		s.account.give(s.size)
		s.size = 0
	}
}
