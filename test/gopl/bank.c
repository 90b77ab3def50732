// A bank with one account, three ways.
//
// The monitor (9.1, exercise 9.1): the balance is a local variable of the
// teller's thread; customers send it messages.  "Do not communicate by sharing
// memory; instead, share memory by communicating."
// The mutex (9.2): whoever holds mu may touch the balance.
// The rwmutex (9.3): those who only look are let in together.
#include <stdlib.h>

#include "sync/atomic.h"
#include "sync/chan.h"
#include "sync/mutex.h"
#include "sync/rwmutex.h"
#include "test/gopl/gopl.h"

struct withdrawal {
    int amount;
    struct sync_chan *result;  // of int: 1 if it succeeded
};

struct bank {
    enum bank_kind kind;

    // The monitor.
    struct sync_chan *deposits;     // of int: send an amount to deposit
    struct sync_chan *balances;     // of int: receive the balance
    struct sync_chan *withdrawals;  // of struct withdrawal
    struct sync_thread teller;

    // The others.
    struct sync_mutex mu;
    struct sync_rwmutex rw;
    int balance;  // guarded by mu, or by rw
};

// -------------------------------------------------------------- the monitor

static void *teller(void *arg) {
    struct bank *b = arg;
    int balance = 0;  // confined to this thread
    int amount, ok;
    struct withdrawal w;

    for (;;) {
        struct sync_select_case cases[] = {
            {.chan = b->deposits, .recv = &amount},
            {.chan = b->balances, .send = &balance},
            {.chan = b->withdrawals, .recv = &w},
        };

        switch (sync_chan_select(cases, 3, SYNC_NEVER, NULL)) {
            case 0:
                if (cases[0].error == SYNC_ECLOSED) {
                    return NULL;
                }
                balance += amount;
                break;
            case 2:
                ok = w.amount <= balance;
                balance -= ok ? w.amount : 0;
                sync_chan_send(w.result, &ok, SYNC_NEVER, NULL);
                break;
        }
    }
}

static int ask_teller(struct bank *b, int amount) {
    struct withdrawal w = {amount, sync_chan_new(sizeof(int), 0)};
    int ok = 0;

    sync_chan_send(b->withdrawals, &w, SYNC_NEVER, NULL);
    sync_chan_recv(w.result, &ok, SYNC_NEVER, NULL);
    sync_chan_free(w.result);
    return ok;
}

// -------------------------------------------------------------- the locks

// Whoever calls these holds the lock.
static int withdraw_locked(struct bank *b, int amount) {
    if (amount > b->balance) {
        return 0;
    }
    b->balance -= amount;
    return 1;
}

// ------------------------------------------------------------ all three ways

void bank_deposit(struct bank *b, int amount) {
    switch (b->kind) {
        case BANK_MONITOR:
            sync_chan_send(b->deposits, &amount, SYNC_NEVER, NULL);
            break;
        case BANK_MUTEX:
            sync_mutex_lock(&b->mu);
            b->balance += amount;
            sync_mutex_unlock(&b->mu);
            break;
        case BANK_RWMUTEX:
            sync_rwmutex_lock(&b->rw);
            b->balance += amount;
            sync_rwmutex_unlock(&b->rw);
            break;
    }
}

int bank_balance(struct bank *b) {
    int balance = 0;

    switch (b->kind) {
        case BANK_MONITOR:
            sync_chan_recv(b->balances, &balance, SYNC_NEVER, NULL);
            break;
        case BANK_MUTEX:
            sync_mutex_lock(&b->mu);
            balance = b->balance;
            sync_mutex_unlock(&b->mu);
            break;
        case BANK_RWMUTEX:
            sync_rwmutex_rlock(&b->rw);
            balance = b->balance;
            sync_rwmutex_runlock(&b->rw);
            break;
    }
    return balance;
}

int bank_withdraw(struct bank *b, int amount) {
    int ok = 0;

    switch (b->kind) {
        case BANK_MONITOR:
            ok = ask_teller(b, amount);
            break;
        case BANK_MUTEX:
            sync_mutex_lock(&b->mu);
            ok = withdraw_locked(b, amount);
            sync_mutex_unlock(&b->mu);
            break;
        case BANK_RWMUTEX:
            sync_rwmutex_lock(&b->rw);
            ok = withdraw_locked(b, amount);
            sync_rwmutex_unlock(&b->rw);
            break;
    }
    return ok;
}

struct bank *bank_open(enum bank_kind kind) {
    struct bank *b = calloc(1, sizeof *b);

    b->kind = kind;
    if (kind == BANK_MONITOR) {
        b->deposits = sync_chan_new(sizeof(int), 0);
        b->balances = sync_chan_new(sizeof(int), 0);
        b->withdrawals = sync_chan_new(sizeof(struct withdrawal), 0);
        sync_thread_start(&b->teller, teller, b);
    }
    return b;
}

void bank_close(struct bank *b) {
    if (b->kind == BANK_MONITOR) {
        sync_chan_close(b->deposits);  // the teller goes home
        sync_thread_join(&b->teller);
        sync_chan_free(b->deposits);
        sync_chan_free(b->balances);
        sync_chan_free(b->withdrawals);
    }
    free(b);
}
