package intake

import (
	"net"
	"sync"
	"testing"
	"time"
)

func from(address string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(address), Port: 1} }

// An address has half of the budget, this machine seven eighths, and a long request three quarters of either.
func TestSharesOfTheBudget(t *testing.T) {
	const all = 16 << 20
	for address, sample := range map[string]struct{ short, long int }{
		"192.0.2.1": {all / 2, all / 2 / 4 * 3},
		"127.0.0.1": {all / 8 * 7, all / 8 * 7 / 4 * 3},
	} {
		ledger := NewLedger(all)
		account := ledger.Join(from(address))
		long := account.Share()
		for long.Take(small) {
		}
		if long.size > int64(sample.long) || long.size < int64(sample.long)-2*small {
			t.Errorf("%s: one request holds %d bytes, not %d", address, long.size, sample.long)
		}
		held, shares := int(long.size), []Share{}
		for share := account.Share(); share.Take(small); share = account.Share() {
			held, shares = held+small, append(shares, share)
		}
		if held > sample.short || held < sample.short-small {
			t.Errorf("%s: all requests hold %d bytes, not %d", address, held, sample.short)
		}
		long.Free()
		for at := range shares {
			shares[at].Free()
		}
		account.Leave()
		if ledger.Held() != 0 || len(ledger.accounts) != 0 {
			t.Errorf("%s: %d bytes of %d accounts are held for nobody", address, ledger.Held(), len(ledger.accounts))
		}
	}
}

// Two addresses cannot hold more than all, nor what is left for those that hold little; addresses of one network of IPv6
// are one.
func TestTheBudgetIsOne(t *testing.T) {
	ledger := NewLedger(1600)
	one, two, near := ledger.Join(from("2001:db8::1")), ledger.Join(from("2001:db8:0:1::1")), ledger.Join(from("2001:db8::2"))
	if one != near || one == two {
		t.Fatal("networks are told apart wrongly")
	}
	if share := one.Share(); !share.Take(800) || share.Take(1) {
		t.Error("an address does not have half of it")
	}
	if share := two.Share(); !share.Take(600) || share.Take(1) {
		t.Error("two addresses do not leave the last eighth")
	}
	for _, address := range []string{"192.0.2.1", "192.0.2.2"} {
		if share := ledger.Join(from(address)).Share(); !share.Take(100) || share.Take(1) {
			t.Error("an address that holds little has no part of the last eighth")
		}
	}
	if share := ledger.Join(from("192.0.2.3")).Share(); share.Take(1) {
		t.Error("more than all is held")
	}
}

// Counts stay right whoever takes and gives back at once.
func TestManyAtOnce(t *testing.T) {
	ledger := NewLedger(1 << 20)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 2000 {
				account := ledger.Join(from("192.0.2.1"))
				share := account.Share()
				share.Take(300)
				share.Take(1 << 19)
				share.Free()
				account.Leave()
			}
		})
	}
	group.Wait()
	if ledger.Held() != 0 || len(ledger.accounts) != 0 {
		t.Errorf("%d bytes of %d accounts are held for nobody", ledger.Held(), len(ledger.accounts))
	}
}

// Heads are found wherever the bytes are cut.
func TestFramesInPieces(t *testing.T) {
	bytes := append(reset(7), reset(9)...)
	bytes = append(bytes, 0, 0, 0, typeHeaders, flagEndStream, 0, 0, 0, 11)
	for size := 1; size <= len(bytes); size++ {
		var found []uint32
		var f frames
		for start := 0; start < len(bytes); start += size {
			f.each(bytes[start:min(start+size, len(bytes))], func(h *head) { found = append(found, h.stream()) })
		}
		if len(found) != 3 || found[0] != 7 || found[1] != 9 || found[2] != 11 {
			t.Errorf("in pieces of %d: %v", size, found)
		}
	}
}

// Who leaves and comes back at once has no new thousand frames.
func TestPurseOutlivesItsConnections(t *testing.T) {
	ledger := NewLedger(1 << 20)
	from := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1}
	longest := time.Duration(0)
	for range 10_000 {
		account := ledger.Join(from)
		longest = max(longest, account.Useless(1<<20))
		account.Leave()
	}

	if longest < time.Second/2 {
		t.Errorf("the longest wait is %v", longest)
	}
	ledger.sweep(time.Now().Add(time.Hour))
	if len(ledger.accounts) > 0 {
		t.Error("an address is remembered for ever")
	}
}
