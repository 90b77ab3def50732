#include "sync/list.h"

#include <gtest/gtest.h>

#include <vector>

namespace {

struct Item {
    int number;
    struct sync_link link;
};

std::vector<int> Numbers(const sync_list &list) {
    std::vector<int> numbers;
    for (sync_link *l = list.first; l != nullptr;
         l = sync_list_next(&list, l)) {
        numbers.push_back(SYNC_CONTAINER(l, Item, link)->number);
    }
    return numbers;
}

class List : public ::testing::Test {
   protected:
    List() {
        for (Item &item : items) {
            sync_list_push(&list, &item.link);
        }
    }

    Item items[3] = {{1, {}}, {2, {}}, {3, {}}};
    sync_list list = {};
};

TEST_F(List, ZeroedIsEmpty) {
    sync_list empty = {};
    EXPECT_TRUE(sync_list_is_empty(&empty));
    EXPECT_EQ(sync_list_pop(&empty), nullptr);
    EXPECT_FALSE(sync_list_is_empty(&list));
}

TEST_F(List, FirstInIsFirstOut) {
    EXPECT_EQ(Numbers(list), (std::vector<int>{1, 2, 3}));
    EXPECT_EQ(sync_list_pop(&list), &items[0].link);
    EXPECT_EQ(sync_list_pop(&list), &items[1].link);
    EXPECT_EQ(sync_list_pop(&list), &items[2].link);
    EXPECT_EQ(sync_list_pop(&list), nullptr);
}

TEST_F(List, RemovesTheFirst) {
    sync_list_remove(&list, &items[0].link);
    EXPECT_EQ(Numbers(list), (std::vector<int>{2, 3}));
}

TEST_F(List, RemovesTheMiddle) {
    sync_list_remove(&list, &items[1].link);
    EXPECT_EQ(Numbers(list), (std::vector<int>{1, 3}));
}

TEST_F(List, RemovesTheLast) {
    sync_list_remove(&list, &items[2].link);
    EXPECT_EQ(Numbers(list), (std::vector<int>{1, 2}));
    sync_list_push(&list, &items[2].link);
    EXPECT_EQ(Numbers(list), (std::vector<int>{1, 2, 3}));
}

TEST_F(List, IsReusableWhenEmptied) {
    while (sync_list_pop(&list) != nullptr) {
    }
    EXPECT_TRUE(sync_list_is_empty(&list));
    sync_list_push(&list, &items[1].link);
    EXPECT_EQ(Numbers(list), (std::vector<int>{2}));
    sync_list_remove(&list, &items[1].link);
    EXPECT_TRUE(sync_list_is_empty(&list));
}

}  // namespace
