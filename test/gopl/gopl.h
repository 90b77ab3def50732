// Chapter 9 of "The Go Programming Language" (Donovan, Kernighan), in C on
// sync/: its programs, to be read beside the book.  Each source names its
// section.  Racy ones, on purpose, are in racy.c.
#ifndef MEMO_TEST_GOPL_GOPL_H_
#define MEMO_TEST_GOPL_GOPL_H_

#ifdef __cplusplus
extern "C" {
#endif

// 9.2, 9.3: a counter three ways (counter.c).
enum counter_kind { COUNTER_MUTEX, COUNTER_RWMUTEX, COUNTER_ATOMIC };
struct counter;
struct counter *counter_new(enum counter_kind kind);
void counter_add(struct counter *c);
int counter_value(struct counter *c);
void counter_free(struct counter *c);

// 9.1 to 9.3: a bank three ways (bank.c).  Withdraw returns 1, or 0 if there
// isn't enough on the account.
enum bank_kind { BANK_MONITOR, BANK_MUTEX, BANK_RWMUTEX };
struct bank;
struct bank *bank_open(enum bank_kind kind);
void bank_deposit(struct bank *b, int amount);
int bank_balance(struct bank *b);
int bank_withdraw(struct bank *b, int amount);
void bank_close(struct bank *b);

// 9.5: icons loaded by whoever needs one first, or before anybody (icons.c).
struct icons;
struct icons *icons_new(void);
const char *icons_lazy(struct icons *icons, const char *name);
int icons_loads(const struct icons *icons);  // how often the table was loaded
void icons_free(struct icons *icons);
const char *icons_eager(const char *name);

// 8.5: the sizes of n thumbnails, made all at once (thumbnails.c).
int thumbnails_total(int (*make)(int i), int n);

// 9.7: a memoizing cache in five stages (memo1.c to memo5.c).
typedef int memo_func(void *arg, const char *key);
struct stage;  // one of the five
struct memo_stage {
    struct stage *(*make)(memo_func *f, void *arg);
    int (*get)(struct stage *s, const char *key);
    void (*end)(struct stage *s);
};
extern const struct memo_stage memo1, memo2, memo3, memo4, memo5;

// What the racy programs count; see racy.c.
int racy_counter(void);
int racy_icons(void);

#ifdef __cplusplus
}
#endif

#endif  // MEMO_TEST_GOPL_GOPL_H_
