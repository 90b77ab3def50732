// liburcu's lock-free resizable hash table, its read side in the flavour that
// the library recommends (memb).  As its example does: look up and read inside
// one rcu_read_lock().
#define RCU_MEMB
#define URCU_INLINE_SMALL_FUNCTIONS
#include <urcu/urcu-memb.h>
// The table's header needs a flavour before it.
#include <urcu/rculfhash.h>

#include "bench/subject.h"
#include "bench/value.h"

const char subject_about[] = "C " PEER_VERSION;

struct node {
    struct cds_lfht_node link;
    struct rcu_head rcu;
    const unsigned char *key;
    size_t key_size;
    unsigned char value[VALUE_SIZE];
};

struct key {
    const unsigned char *bytes;
    size_t size;
};

static struct cds_lfht *table;

static void free_node(struct rcu_head *rcu) {
    free(caa_container_of(rcu, struct node, rcu));
}

static int match(struct cds_lfht_node *link, const void *arg) {
    const struct node *n = caa_container_of(link, struct node, link);
    const struct key *key = arg;

    return n->key_size == key->size &&
           memcmp(n->key, key->bytes, key->size) == 0;
}

void subject_init(size_t capacity) {
    unsigned long size = 1024;

    // It grows in a thread of its own, which may be late: give it the size that
    // it will need, where that is known.
    while (size < capacity) {
        size *= 2;
    }
    table = cds_lfht_new_flavor(size, 1024, 0,
                                CDS_LFHT_AUTO_RESIZE | CDS_LFHT_ACCOUNTING,
                                &urcu_memb_flavor, NULL);
    if (table == NULL) {
        abort();
    }
}

void subject_exit(void) {
    struct cds_lfht_iter iter;
    struct node *n;

    urcu_memb_read_lock();
    cds_lfht_for_each_entry(table, &iter, n, link) {
        cds_lfht_del(table, &n->link);
        urcu_memb_call_rcu(&n->rcu, free_node);
    }
    urcu_memb_read_unlock();
    urcu_memb_barrier();
    cds_lfht_destroy(table, NULL);
}

void subject_put(const void *key, size_t size, const void *value) {
    struct node *n = malloc(sizeof(*n) + size);
    unsigned char *copy = (unsigned char *)(n + 1);
    struct key k = {key, size};

    if (n == NULL) {
        abort();
    }
    memcpy(copy, key, size);
    memcpy(n->value, value, VALUE_SIZE);
    n->key = copy;
    n->key_size = size;
    cds_lfht_node_init(&n->link);
    urcu_memb_read_lock();
    cds_lfht_add_unique(table, bench_hash(key, size), match, &k, &n->link);
    urcu_memb_read_unlock();
}

void subject_thread_begin(void) {
    urcu_memb_register_thread();
}

void subject_thread_end(void) {
    urcu_memb_unregister_thread();
}

uint64_t subject_run(const unsigned char *key, size_t stride, size_t n) {
    uint64_t sum = 0;

    for (; n != 0; n--, key += stride) {
        struct key k = {key, subject_key_size(key, stride)};
        struct cds_lfht_iter iter;
        struct cds_lfht_node *link;
        urcu_memb_read_lock();
        cds_lfht_lookup(table, bench_hash(k.bytes, k.size), match, &k, &iter);
        link = cds_lfht_iter_get_node(&iter);
        if (link == NULL) {
            abort();
        }
        sum += sum_of(caa_container_of(link, struct node, link)->value);
        urcu_memb_read_unlock();
    }
    return sum;
}
