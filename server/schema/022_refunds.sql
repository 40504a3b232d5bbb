-- Refunds of an order, which are decided again after it. Without an index of their own a plan that was
-- made while the table was small read all of it for each sale of a large import.

create index conversions_refunds on kudos.conversions (workspace_id, order_id) where event = 'refund';
